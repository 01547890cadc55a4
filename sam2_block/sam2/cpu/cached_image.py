"""The CPU network's embedding of an image: what does not depend on the prompt."""

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
        stride_8: `(M, C)`, high-resolution features plus the bias of the first upscaling; a
            quarter for each child of a pixel.
        stride_4: `(4M, C/2)`, the same for the second.
    """

    pixels: Tensor
    keys: Tensor
    values: Tensor
    stride_8: Tensor
    stride_4: Tensor

    @property
    def nbytes(self) -> int:
        """Bytes of the tensors."""
        return sum(tensor.nbytes for tensor in self)

    def is_finite(self) -> bool:
        """Whether the pixels are; all other tensors depend on the same tokens."""
        return bool(torch.isfinite(self.pixels).all())
