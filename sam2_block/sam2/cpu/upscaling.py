"""Mask upscaling: from the decoder's pixels to mask logits at four times their resolution."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sam2_block.compute.compute_pool import each
from sam2_block.sam2.cpu.cached_image import CachedImage
from sam2_block.sam2.cpu.linear import layer_norm, product
from sam2_block.sam2.cpu.strips import strips

# Pixels per block: a block stays in a core's cache.
_PIXELS = 512


class Upscaling:
    """Two transposed convolutions, and the product with a mask's weights.

    The same arithmetic as `output_upscaling` of `sam2/modeling/sam/mask_decoder.py`. Each
    kernel is as large as its stride, so each convolution is a matrix product over a pixel's
    channels. Pixels stay rows of channels; only the logits are reordered into an image.

    Args:
        upscaling: Meta's module.
    """

    def __init__(self, upscaling: Any) -> None:
        first, self._norm, self._activation, second, _ = upscaling
        # (in, out, 2, 2) -> (4 * out, in): the four children of a pixel, row by row.
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
        # Group the children of each pixel, row by row; at stride 4 also their children.
        stride_8 = stride_8.reshape(height, 2, width, 2, -1).permute(0, 2, 1, 3, 4)
        stride_4 = stride_4.reshape(height, 2, 2, width, 2, 2, -1).permute(0, 3, 1, 4, 2, 5, 6)
        outputs = stride_8.new_empty(stride_8.shape), stride_4.new_empty(stride_4.shape)

        def reorder(block: slice) -> None:
            torch.add(stride_8[block], self._first_bias, out=outputs[0][block])
            torch.add(stride_4[block], self._second_bias, out=outputs[1][block])

        each(reorder, strips(height, _PIXELS, width=width))
        return (
            outputs[0].reshape(height * width, -1),
            outputs[1].reshape(height * width * 4, -1),
        )

    def __call__(
        self, image: CachedImage, pixels: Tensor, weights: list[Tensor], logits: Tensor
    ) -> None:
        """Predict the logits of selected masks of one prompt.

        Args:
            image: The encoded image.
            pixels: `(M, C)`.
            weights: Mask weights `(C/8,)`, one for each mask.
            logits: `(K, M, 16)`, receives the logits of each pixel's four children's four children.
        """

        def upscale(block: slice) -> None:
            children = slice(4 * block.start, 4 * block.stop)
            x = product(pixels[block], self._first).add_(image.stride_8[block])
            x = self._activation(layer_norm(x.reshape(4 * len(x), -1), self._norm))
            x = product(x, self._second).add_(image.stride_4[children])
            x = self._activation(x).reshape(-1, len(weights[0]))
            for weight, mask in zip(weights, logits, strict=True):
                mask[block] = (x @ weight).reshape(-1, 16)

        each(upscale, strips(len(pixels), _PIXELS))


def to_image_order(logits: Tensor, height: int, width: int) -> Tensor:
    """`(B, M, 16)` of `height` times `width` pixels -> `(B, 4 * height, 4 * width)`."""
    # Axes: rows and columns of the grid, of each pixel's children, of their children.
    logits = logits.reshape(-1, height, width, 2, 2, 2, 2).permute(0, 1, 3, 5, 2, 4, 6)
    return logits.reshape(-1, 4 * height, 4 * width)
