"""What every prompt on an image shares: the CPU's embedding of an image."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class ImageSide(NamedTuple):
    """`M` pixels of stride 16, `C` channels; in single precision.

    Attributes:
        pixels: `(M, C)`, the embedding with the embedding of "no mask given".
        keys: `(1, heads, M, c)` of the first layer's attention of tokens to pixels.
        values: `(1, heads, M, c)` of the same.
        stride_8: `(M, C)`, added to the first upscaling, its bias included: a quarter a child.
        stride_4: `(4M, C/2)`, added to the second.
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
        """Whether the pixels are; what else there is comes of the same tokens."""
        return bool(torch.isfinite(self.pixels).all())
