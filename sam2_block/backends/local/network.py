"""SAM 2's two passes, whatever computes them: pixels to an embedding, and prompts to masks."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sam2_block.backends.local.devices import Compute
from sam2_block.backends.local.explicit_creation import CreateOn


class Embedding(Protocol):
    """What a network says of one image; never changed after it is made."""

    @property
    def nbytes(self) -> int:
        """Bytes that it takes."""

    def is_finite(self) -> bool:
        """Whether what prompts attend to holds finite numbers only."""


class Network(Protocol):
    """A model on a device, ready to compute. Stateless, so that threads share it unlocked.

    Attributes:
        image_size: Side of the square of pixels that it sees.
    """

    image_size: int

    def encode(self, pixels: Tensor) -> Any:
        """Encode `(1, 3, image_size, image_size)`, RGB, normalised, into an `Embedding`."""

    def batch_size(self, tokens: int) -> int:
        """Return how many prompts of so many tokens can be decoded together."""

    def decode(
        self, embedding: Any, tokens: tuple[Tensor, Tensor], multimask_output: bool
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Answer prompts on one image.

        Args:
            embedding: What `encode` made of the image.
            tokens: Coordinates `(B, T, 2)` (x, y) on the square, and labels `(B, T)`, of a batch
                that is no larger than `batch_size` says.
            multimask_output: Choose among three masks a prompt, or take the single one.

        Returns:
            Logits `(B, s, s)` of the mask with the best predicted quality, and that `(B,)`.
        """


def make_network(model: Any, compute: Compute) -> Network:
    """Make a model ready to compute; it is used up.

    Args:
        model: A `SAM2Base` on the device of `compute`.
        compute: Device and precision.
    """
    # An application's defaults and its autocast would reach what is computed here once for all.
    with CreateOn(compute.device), compute.full_precision():
        if compute.device.type == "cpu":
            from sam2_block.backends.local.lean.network import LeanNetwork

            return LeanNetwork(model, compute)
        from sam2_block.backends.local.meta_network import MetaNetwork

        return MetaNetwork(model, compute)
