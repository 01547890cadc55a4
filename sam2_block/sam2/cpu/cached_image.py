"""The CPU network's image embedding: every tensor that does not depend on the prompt."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class CachedImage(NamedTuple):
    """One encoded image: `M` pixels of stride 16, `C` channels, in single precision.

    Attributes:
        pixels: `(M, C)`, image embedding plus "no mask" embedding.
        keys: `(1, heads, M, c)` of the first token-to-image attention.
        values: `(1, heads, M, c)` of the same.
        stride_8: `(M, C)`, high-resolution features plus the bias of the first upscaling layer, a
            quarter of the channels for each of a pixel's four children.
        stride_4: `(4M, C/2)`, the same for the second upscaling layer.
    """

    pixels: Tensor
    keys: Tensor
    values: Tensor
    stride_8: Tensor
    stride_4: Tensor

    @property
    def nbytes(self) -> int:
        """Size of the tensors in bytes."""
        return sum(tensor.nbytes for tensor in self)

    def is_finite(self) -> bool:
        """Return whether `pixels` is finite; all other tensors depend on the same tokens."""
        return bool(torch.isfinite(self.pixels).all())
