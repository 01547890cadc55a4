"""SAM 2's passes, whatever computes them: pixels, features, embedding, candidates.

A video differs from an image in `condition` alone: there what was seen before is attended to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from sam2_block.compute.compute_target import ComputeTarget
from sam2_block.compute.explicit_creation import CreateOn
from sam2_block.sam2.candidates import Candidates, Stability


class Embedding(Protocol):
    """One encoded image, ready for prompts; immutable."""

    @property
    def nbytes(self) -> int:
        """Bytes that it takes."""

    def is_finite(self) -> bool:
        """Whether what prompts attend to holds finite numbers only."""


@dataclass(frozen=True)
class PromptBatch:
    """Prompts on one image that have equally many points and corners.

    Attributes:
        coordinates: `(B, T, 2)` float32, (x, y) on the encoder's square. `T` may be 0 where there
            are mask logits.
        labels: `(B, T)` int32: 0 negative point, 1 positive point, 2 top left corner, 3 bottom
            right corner.
        mask_logits: `(B, s, s)` float32, low-resolution logits of an earlier candidate, to be
            refined; None for prompts without a mask.
    """

    coordinates: Tensor
    labels: Tensor
    mask_logits: Tensor | None = None

    def __len__(self) -> int:
        return len(self.coordinates)

    def __getitem__(self, rows: slice) -> PromptBatch:
        masks = None if self.mask_logits is None else self.mask_logits[rows]
        return PromptBatch(self.coordinates[rows], self.labels[rows], masks)


@dataclass(frozen=True)
class Memory:
    """What was seen before, for an image to attend to: `SAM2Base` makes it of past frames.

    Attributes:
        tokens: `(N, 1, C)`, features of past masks, then object pointers.
        positions: `(N, 1, C)`, encodings of their positions in space and time.
        pointer_tokens: How many of the last tokens are object pointers.
    """

    tokens: Tensor
    positions: Tensor
    pointer_tokens: int = 0


class Network(Protocol):
    """A model on a device, ready to compute. Stateless, so that threads share it unlocked.

    Attributes:
        image_size: Side of the square of pixels that it sees.
        stability: When a single mask gives way to the best of three; None if it never does.
    """

    image_size: int
    stability: Stability | None

    def encode(self, pixels: Tensor) -> Any:
        """Encode `(1, 3, image_size, image_size)`, RGB, normalised, into the raw feature pyramid.

        Returns:
            Features for `condition`, which leaves them as they are.
        """

    def condition(self, features: Any, memory: Memory | None = None) -> Any:
        """Make an `Embedding` of features.

        Args:
            features: What `encode` made of the image.
            memory: What to attend to; None for an image on its own.
        """

    def batch_size(self, tokens: int) -> int:
        """Return how many prompts of so many points and corners can be decoded together."""

    def decode(self, embedding: Any, prompts: PromptBatch) -> Candidates:
        """Propose masks for prompts on one image.

        Args:
            embedding: What `condition` made of the image's features.
            prompts: No more of them than `batch_size` says.
        """


def make_network(model: Any, compute: ComputeTarget) -> Network:
    """Make a model ready to compute; it is used up.

    Args:
        model: A `SAM2Base` on the device of `compute`.
        compute: Device and precision.
    """
    # An application's defaults and its autocast would reach what is computed here once for all.
    with CreateOn(compute.device), compute.full_precision():
        if compute.device.type == "cpu":
            from sam2_block.sam2.cpu.cpu_network import CpuNetwork

            return CpuNetwork(model, compute)
        from sam2_block.sam2.sam2_modules import Sam2Modules

        return Sam2Modules(model, compute)
