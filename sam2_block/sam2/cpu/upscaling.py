"""From the decoder's pixels to the logits of one mask, at four times their resolution."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sam2_block.compute.compute_pool import each
from sam2_block.sam2.cpu.cached_image import CachedImage
from sam2_block.sam2.cpu.linear import normed, product
from sam2_block.sam2.cpu.strips import strips

# Pixels in a block: it stays in a core's cache.
_PIXELS = 512


class Upscaling:
    """Two transposed convolutions, and the product with a mask's weights.

    The same arithmetic as `output_upscaling` of `sam2/modeling/sam/mask_decoder.py`. The kernels
    are as large as their strides, so that each is a matrix product of a pixel's channels; pixels
    stay rows of channels, and only logits are brought into the order of an image.

    Args:
        upscaling: Meta's module.
    """

    def __init__(self, upscaling: Any) -> None:
        first, self._norm, self._activation, second, _ = upscaling
        # (in, out, 2, 2) -> (4 * out, in): the four pixels that one becomes, row by row.
        self._first = first.weight.permute(2, 3, 1, 0).flatten(0, 2).contiguous()
        self._second = second.weight.permute(2, 3, 1, 0).flatten(0, 2).contiguous()
        self._first_bias, self._second_bias = first.bias, second.bias

    def high_res(self, stride_8: Tensor, stride_4: Tensor) -> tuple[Tensor, Tensor]:
        """Prepare the high-resolution features; see `CachedImage`.

        Args:
            stride_8: `(2h, 2w, C/4)`.
            stride_4: `(4h, 4w, C/8)`.
        """
        height, width = stride_8.shape[0] // 2, stride_8.shape[1] // 2
        # Each pixel's children together, row by row, and theirs in turn.
        stride_8 = stride_8.reshape(height, 2, width, 2, -1).permute(0, 2, 1, 3, 4)
        stride_4 = stride_4.reshape(height, 2, 2, width, 2, 2, -1).permute(0, 3, 1, 4, 2, 5, 6)
        outputs = stride_8.new_empty(stride_8.shape), stride_4.new_empty(stride_4.shape)

        def order(part: slice) -> None:
            torch.add(stride_8[part], self._first_bias, out=outputs[0][part])
            torch.add(stride_4[part], self._second_bias, out=outputs[1][part])

        each(order, strips(height, _PIXELS, width=width))
        return (
            outputs[0].reshape(height * width, -1),
            outputs[1].reshape(height * width * 4, -1),
        )

    def __call__(
        self, image: CachedImage, pixels: Tensor, weights: list[Tensor], logits: Tensor
    ) -> None:
        """Predict the logits of some masks of one prompt.

        Args:
            image: The encoded image.
            pixels: `(M, C)`.
            weights: Mask weights `(C/8,)`, one for each mask.
            logits: `(K, M, 16)`, filled in: each pixel has four children, each of them four.
        """

        def fill(part: slice) -> None:
            children = slice(4 * part.start, 4 * part.stop)
            middle = product(pixels[part], self._first).add_(image.stride_8[part])
            middle = self._activation(normed(middle.reshape(4 * len(middle), -1), self._norm))
            fine = product(middle, self._second).add_(image.stride_4[children])
            fine = self._activation(fine).reshape(-1, len(weights[0]))
            for weight, mask in zip(weights, logits, strict=True):
                mask[part] = (fine @ weight).reshape(-1, 16)

        each(fill, strips(len(pixels), _PIXELS))


def in_image_order(logits: Tensor, height: int, width: int) -> Tensor:
    """`(B, M, 16)` of `height` times `width` pixels -> `(B, 4 * height, 4 * width)`."""
    # Rows and columns of the grid, of each pixel's children, of their children.
    logits = logits.reshape(-1, height, width, 2, 2, 2, 2).permute(0, 1, 3, 5, 2, 4, 6)
    return logits.reshape(-1, 4 * height, 4 * width)
