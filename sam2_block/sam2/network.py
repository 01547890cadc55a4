"""The interface of a SAM 2 network: from pixels to features, embedding and candidates.

For a frame of a video, `condition` also takes a `Memory`, which Meta's `SAM2Base` can make; nothing
in this package makes one yet.
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
        """Size in bytes."""

    def is_finite(self) -> bool:
        """Return whether the values that prompts attend to are all finite."""


@dataclass(frozen=True)
class PromptBatch:
    """Prompts on one image, all with the same number of points and corners.

    Attributes:
        coordinates: `(B, T, 2)` float32, (x, y) on the encoder's square. `T` may be 0 if
            `mask_logits` is set.
        labels: `(B, T)` int32: 0 negative point, 1 positive point, 2 top left corner, 3 bottom
            right corner.
        mask_logits: `(B, s, s)` float32, low-resolution logits of an earlier candidate to refine;
            None for prompts without a mask.
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
    """The memory of one object in past frames, as Meta's `SAM2Base` computes it; read-only here.

    Attributes:
        tokens: `(N, 1, C)`, features of past masks, followed by object pointers.
        positions: `(N, 1, C)`, encodings of the positions of the tokens in space and time.
        pointer_tokens: Number of object pointers at the end of the tokens.
    """

    tokens: Tensor
    positions: Tensor
    pointer_tokens: int = 0


class Network(Protocol):
    """A model on a device, ready to compute. Stateless, so that threads share it unlocked.

    Attributes:
        image_size: Side of the square input, in pixels.
        stability: Criterion by which the best of three replaces a single mask; None if never.
    """

    image_size: int
    stability: Stability | None

    def encode(self, pixels: Tensor) -> Any:
        """Encode `(1, 3, image_size, image_size)`, RGB, normalised, into the raw feature pyramid.

        Returns:
            Features for `condition`, which does not modify them.
        """

    def condition(self, features: Any, memory: Memory | None = None) -> Any:
        """Turn features into an `Embedding`.

        Args:
            features: The features that `encode` returned for the image.
            memory: The memory to attend to; None for a single image.
        """

    def batch_size(self, tokens: int) -> int:
        """Return the maximum batch of prompts with `tokens` points and corners each."""

    def decode(self, embedding: Any, prompts: PromptBatch) -> Candidates:
        """Propose masks for prompts on one image.

        Args:
            embedding: The embedding that `condition` returned for the image.
            prompts: At most `batch_size` prompts.
        """


def make_network(model: Any, compute: ComputeTarget) -> Network:
    """Build the network of a model, which must not be used for anything else afterwards.

    Args:
        model: A `SAM2Base` on the device of `compute`.
        compute: Device and precision.
    """
    # Constants are computed here once, so the application's default device, default type and
    # autocast must not affect them.
    with CreateOn(compute.device), compute.full_precision():
        if compute.device.type == "cpu":
            from sam2_block.sam2.cpu.cpu_network import CpuNetwork

            return CpuNetwork(model, compute)
        from sam2_block.sam2.sam2_modules import Sam2Modules

        return Sam2Modules(model, compute)
