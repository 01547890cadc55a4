"""The feature pyramid on top of the trunk, with the mask decoder's high-resolution layers.

The same arithmetic as `FpnNeck` of `sam2/modeling/backbones/image_encoder.py`, followed by
`conv_s0` and `conv_s1` of the mask decoder. These are 1x1 convolutions, and so are the neck's
convolutions before them: where nothing is added in between, both are computed as one product.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - the name that every PyTorch reader expects
from torch import Tensor

from sam2_block.sam2.cpu.linear import Linear, apply_in_strips


class Features(NamedTuple):
    """The raw feature pyramid of an image, channels last, in single precision.

    `conv_s0` and `conv_s1` of the mask decoder are already applied to the two finer levels.

    Attributes:
        stride_16: `(h, w, C)`.
        stride_8: `(2h, 2w, C/4)`.
        stride_4: `(4h, 4w, C/8)`.
    """

    stride_16: Tensor
    stride_8: Tensor
    stride_4: Tensor


class Neck:
    """Turns the trunk's stages into features.

    Args:
        model: Meta's `SAM2Base`, its weights loaded.
    """

    def __init__(self, model: Any) -> None:
        neck = model.image_encoder.neck
        self._top_down = frozenset(neck.fpn_top_down_levels)
        self._interpolation = neck.fpn_interp_model
        self._laterals = [_pixelwise(level.conv) for level in reversed(neck.convs)]
        high_res = [model.sam_mask_decoder.conv_s0, model.sam_mask_decoder.conv_s1]
        self._high_res = [_pixelwise(layer) for layer in high_res]
        if not self._top_down & {0, 1}:
            for level, layer in enumerate(self._high_res):
                self._laterals[level] = _compose(self._laterals[level], layer)
            self._high_res = []

    def __call__(self, stages: list[Tensor]) -> Features:
        """Combine the stages, `(h, w, C)` each, the finest first."""
        levels = apply_in_strips(self._laterals, stages)
        for level in reversed(range(len(levels) - 1)):
            if level in self._top_down:
                levels[level] += self._upsample(levels[level + 1])
        count = len(self._high_res)
        levels[:count] = apply_in_strips(self._high_res, levels[:count])
        stride_4, stride_8, stride_16 = levels[:3]
        return Features(stride_16, stride_8, stride_4)

    def _upsample(self, x: Tensor) -> Tensor:
        align_corners = None if self._interpolation == "nearest" else False
        upsampled = F.interpolate(
            x.permute(2, 0, 1)[None],
            scale_factor=2.0,
            mode=self._interpolation,
            align_corners=align_corners,
        )
        return upsampled[0].permute(1, 2, 0)


def _pixelwise(convolution: Any) -> Linear:
    return Linear.of(convolution, torch.float32)


def _compose(first: Linear, second: Linear) -> Linear:
    """Return one layer equivalent to `first` followed by `second`."""
    weight = second.weight.double()
    bias = weight @ first.bias.double() + second.bias
    return Linear((weight @ first.weight.double()).float(), bias.float(), torch.float32)
