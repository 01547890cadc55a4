"""Attention within windows of the encoder's tokens, or of all tokens to all."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sam2_block.compute.compute_pool import each
from sam2_block.sam2.cpu.linear import Linear, product
from sam2_block.sam2.cpu.strips import strips

# Tokens in a block.
STRIP = 1024

# Rows of the attention matrix in a block: they stay in a core's cache.
_ROWS = 256


class Attention:
    """Scaled dot-product attention, as `MultiScaleAttention` of `sam2/modeling/backbones`.

    Args:
        attention: Meta's module.
        dtype: Of the products.
    """

    def __init__(self, attention: Any, dtype: torch.dtype) -> None:
        self.heads = int(attention.num_heads)
        qkv = attention.qkv
        # Fold the scale of the logits into the query weights.
        scale = qkv.weight.new_ones(3, qkv.out_features // 3)
        scale[0] = (scale.shape[1] / self.heads) ** -0.5
        scale = scale.flatten()
        self._qkv = Linear(qkv.weight * scale[:, None], qkv.bias * scale, dtype)
        self._proj = Linear.of(attention.proj, dtype)

    def in_windows(self, x: Tensor, side: int, pooled: bool) -> Tensor:
        """Attend within windows.

        Args:
            x: `(h, w, C)`, both sides multiples of `side`.
            side: Of the windows.
            pooled: Whether the queries are the maxima of 2x2 tokens each.

        Returns:
            `(h, w, D)`, or `(h / 2, w / 2, D)` where pooled.
        """
        height, width, _ = x.shape
        down, across = height // side, width // side
        # (3, heads, windows down and across, rows and columns of a window, c)
        qkv = self._qkv(x).reshape(down, side, across, side, 3, self.heads, -1)
        qkv = qkv.permute(4, 5, 0, 2, 1, 3, 6).reshape(3, -1, side, side, qkv.shape[-1])
        query, key, value = qkv[0], qkv[1].flatten(1, 2), qkv[2].flatten(1, 2)
        if pooled:
            query, side = maxima_of_2x2(query), side // 2
        weights = torch.softmax(query.flatten(1, 2) @ key.transpose(1, 2), -1)
        attended = (weights @ value).reshape(self.heads, down, across, side, side, -1)
        attended = attended.permute(1, 3, 2, 4, 0, 5).reshape(down * side, across * side, -1)
        return self._proj(attended)

    def of_all(self, x: Tensor, norm: Callable[[Tensor], Tensor]) -> Tensor:
        """Attend from every token to all, without the output projection.

        PyTorch's fused attention multiplies by MKL, and gains nothing from half precision.

        Args:
            x: `(N, C)`.
            norm: The norm before attention.

        Returns:
            `(N, D)`.
        """
        count, width = len(x), self._qkv.weight.shape[0] // 3 // self.heads
        qkv = self._qkv.weight.new_empty(3, self.heads, count, width)

        def project(part: slice) -> None:
            tokens = self._qkv(norm(x[part])).reshape(-1, 3, self.heads, width)
            qkv[:, :, part] = tokens.permute(1, 2, 0, 3)

        each(project, strips(count, STRIP))
        output = qkv.new_empty(count, self.heads, width)
        query, key, value = qkv[0], qkv[1], qkv[2].transpose(1, 2)

        def attend(job: tuple[int, slice]) -> None:
            head, part = job
            logits = product(query[head, part], key[head])
            output[part, head] = product(logits.softmax(-1), value[head])

        each(attend, itertools.product(range(self.heads), strips(count, _ROWS)))
        return output.flatten(1)

    def project(self, attended: Tensor) -> Tensor:
        """Apply the output projection to what `of_all` returns."""
        return self._proj(attended)


def maxima_of_2x2(x: Tensor) -> Tensor:
    """`(..., h, w, C)` -> `(..., h / 2, w / 2, C)`: of each square of four tokens the maximum."""
    rows = torch.maximum(x[..., 0::2, :, :], x[..., 1::2, :, :])
    return torch.maximum(rows[..., 0::2, :], rows[..., 1::2, :])
