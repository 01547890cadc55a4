"""The feature pyramid behind the trunk, and the layers that narrow it for the mask decoder.

The same arithmetic as `FpnNeck` of `sam2/modeling/backbones/image_encoder.py`, followed by
`conv_s0` and `conv_s1` of the mask decoder. These are products of single pixels, and so is what
precedes them: where nothing is added in between, the two are one product.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - the name that every PyTorch reader expects
from torch import Tensor

from sam2_block.sam2.cpu.linear import Linear, in_strips


class Features(NamedTuple):
    """The raw feature pyramid of an image, rows of channels, in single precision.

    What the mask decoder makes of the finer two (`conv_s0`, `conv_s1`) is done.

    Attributes:
        stride_16: `(h, w, C)`.
        stride_8: `(2h, 2w, C/4)`.
        stride_4: `(4h, 4w, C/8)`.
    """

    stride_16: Tensor
    stride_8: Tensor
    stride_4: Tensor


class Neck:
    """Makes features of a trunk's stages.

    Args:
        model: Meta's `SAM2Base`, its weights loaded.
    """

    def __init__(self, model: Any) -> None:
        neck = model.image_encoder.neck
        self._top_down = frozenset(neck.fpn_top_down_levels)
        self._enlarging = neck.fpn_interp_model
        self._laterals = [_pixelwise(level.conv) for level in reversed(neck.convs)]
        narrow = [model.sam_mask_decoder.conv_s0, model.sam_mask_decoder.conv_s1]
        self._narrow = [_pixelwise(layer) for layer in narrow]
        if not self._top_down & {0, 1}:
            for level, layer in enumerate(self._narrow):
                self._laterals[level] = _composed(self._laterals[level], layer)
            self._narrow = []

    def __call__(self, stages: list[Tensor]) -> Features:
        """Combine `(h, w, C)` of every stage, the finest first."""
        levels = in_strips(self._laterals, stages)
        for level in reversed(range(len(levels) - 1)):
            if level in self._top_down:
                levels[level] += self._enlarged(levels[level + 1])
        finest = len(self._narrow)
        levels[:finest] = in_strips(self._narrow, levels[:finest])
        stride_4, stride_8, stride_16 = levels[:3]
        return Features(stride_16, stride_8, stride_4)

    def _enlarged(self, x: Tensor) -> Tensor:
        corners = None if self._enlarging == "nearest" else False
        enlarged = F.interpolate(
            x.permute(2, 0, 1)[None],
            scale_factor=2.0,
            mode=self._enlarging,
            align_corners=corners,
        )
        return enlarged[0].permute(1, 2, 0)


def _pixelwise(convolution: Any) -> Linear:
    return Linear.of(convolution, torch.float32)


def _composed(first: Linear, second: Linear) -> Linear:
    """Return one layer that does what two do, one after the other."""
    weight = second.weight.double()
    bias = weight @ first.bias.double() + second.bias
    return Linear((weight @ first.weight.double()).float(), bias.float(), torch.float32)
