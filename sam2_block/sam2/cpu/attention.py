"""Windowed and global attention of the image encoder."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sam2_block.compute.compute_pool import each
from sam2_block.sam2.cpu.linear import Linear, product
from sam2_block.sam2.cpu.strips import strips

# Tokens per block.
STRIP = 1024

# Rows of the attention matrix per block: they stay in a core's cache.
_ROWS = 256


class Attention:
    """Scaled dot-product attention, as `MultiScaleAttention` of `sam2/modeling/backbones`.

    Args:
        attention: Meta's module.
        dtype: Data type of the products.
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

    def attend_windows(self, x: Tensor, side: int, pooled: bool) -> Tensor:
        """Apply windowed attention.

        Args:
            x: `(h, w, C)`, both sides multiples of `side`.
            side: Side of a window, in tokens.
            pooled: Whether the queries are max-pooled over 2x2 tokens.

        Returns:
            `(h, w, D)`, or `(h / 2, w / 2, D)` where pooled.
        """
        height, width, _ = x.shape
        down, across = height // side, width // side
        # (h, w, 3 * heads * c) -> (3, heads * windows, side, side, c)
        qkv = self._qkv(x).reshape(down, side, across, side, 3, self.heads, -1)
        qkv = qkv.permute(4, 5, 0, 2, 1, 3, 6).reshape(3, -1, side, side, qkv.shape[-1])
        query, key, value = qkv[0], qkv[1].flatten(1, 2), qkv[2].flatten(1, 2)
        if pooled:
            query, side = max_pool_2x2(query), side // 2
        weights = torch.softmax(query.flatten(1, 2) @ key.transpose(1, 2), -1)
        # (heads * windows, side * side, c) -> (h, w, heads * c)
        attended = (weights @ value).reshape(self.heads, down, across, side, side, -1)
        attended = attended.permute(1, 3, 2, 4, 0, 5).reshape(down * side, across * side, -1)
        return self._proj(attended)

    def attend_globally(self, x: Tensor, norm: Callable[[Tensor], Tensor]) -> Tensor:
        """Apply global attention, without the output projection.

        PyTorch's fused attention is not used: it multiplies by MKL, and half precision does not
        make it faster.

        Args:
            x: `(N, C)`.
            norm: The norm before attention, applied to a block of tokens.

        Returns:
            `(N, D)`.
        """
        count, width = len(x), self._qkv.weight.shape[0] // 3 // self.heads
        qkv = self._qkv.weight.new_empty(3, self.heads, count, width)

        def project(block: slice) -> None:
            tokens = self._qkv(norm(x[block])).reshape(-1, 3, self.heads, width)
            qkv[:, :, block] = tokens.permute(1, 2, 0, 3)

        each(project, strips(count, STRIP))
        output = qkv.new_empty(count, self.heads, width)
        query, key, value = qkv[0], qkv[1], qkv[2].transpose(1, 2)

        def attend(job: tuple[int, slice]) -> None:
            head, block = job
            logits = product(query[head, block], key[head])
            output[block, head] = product(logits.softmax(-1), value[head])

        each(attend, itertools.product(range(self.heads), strips(count, _ROWS)))
        return output.flatten(1)

    def project(self, attended: Tensor) -> Tensor:
        """Apply the output projection to the result of `attend_globally`."""
        return self._proj(attended)


def max_pool_2x2(x: Tensor) -> Tensor:
    """`(..., h, w, C)` -> `(..., h / 2, w / 2, C)`: the maximum of each square of four tokens."""
    rows = torch.maximum(x[..., 0::2, :, :], x[..., 1::2, :, :])
    return torch.maximum(rows[..., 0::2, :], rows[..., 1::2, :])
