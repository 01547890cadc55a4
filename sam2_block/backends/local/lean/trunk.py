"""Hiera, the image encoder's trunk, a strip of the image at a time.

The same arithmetic as `Hiera` of `sam2/modeling/backbones/hieradet.py`. A block with windows treats
every row of windows on its own, from the norm before its attention to the sum after its MLP: so
what a strip needs stays in a core's cache, and no layer of the whole image stands in memory but the
tokens themselves. These are summed in single precision, whatever the products are computed in.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the name that every PyTorch reader expects
from torch import Tensor

from sam2_block.backends.local.lean.attention import Attention, maxima_of_2x2
from sam2_block.backends.local.lean.linear import Linear, normed

# Tokens that each thread treats at a time.
_STRIP = 1024


class Trunk:
    """Encodes pixels into tokens of several scales.

    Args:
        trunk: Meta's `Hiera`, its weights loaded.
        side: Side of the square of pixels that it will see.
        dtype: Of the products.
    """

    def __init__(self, trunk: Any, side: int, dtype: torch.dtype) -> None:
        self._patches = trunk.patch_embed.proj
        self._blocks = [_Block(block, dtype) for block in trunk.blocks]
        self._stage_ends = frozenset(trunk.stage_ends)
        with torch.inference_mode():
            patches_hw = (side // self._patches.stride[0], side // self._patches.stride[1])
            self._positions = trunk._get_pos_embed(patches_hw)[0].contiguous()

    def __call__(self, pixels: Tensor) -> list[Tensor]:
        """Encode `(1, 3, side, side)`.

        Returns:
            The tokens at the end of each stage, `(h, w, C)`, the finest first.
        """
        patches = self._patches(pixels.contiguous(memory_format=torch.channels_last))
        tokens = patches[0].permute(1, 2, 0).contiguous().add_(self._positions)
        stages = []
        for index, block in enumerate(self._blocks):
            tokens = block(tokens)
            if index in self._stage_ends:
                stages.append(tokens)
        return stages


class _Block:
    """One block; see `MultiScaleBlock`."""

    def __init__(self, block: Any, dtype: torch.dtype) -> None:
        self._window = int(block.window_size)
        self._pooled = bool(block.q_stride)
        self._width = int(block.dim_out)
        self._norm_1, self._norm_2 = block.norm1, block.norm2
        self._dtype = dtype
        self._attention = Attention(block.attn, dtype)
        self._widen, self._narrow = (Linear.of(layer, dtype) for layer in block.mlp.layers)
        self._activation = block.mlp.act
        self._shortcut = Linear.of(block.proj, dtype) if block.dim != block.dim_out else None

    def __call__(self, tokens: Tensor) -> Tensor:
        """Treat `(h, w, C)`; what is given may be overwritten."""
        return self._of_windows(tokens) if self._window else self._of_all(tokens)

    def _of_windows(self, tokens: Tensor) -> Tensor:
        height, width, _ = tokens.shape
        side, shrink = self._window, 2 if self._pooled else 1
        answer = tokens
        if self._shortcut:
            answer = tokens.new_empty(height // shrink, width // shrink, self._width)
        windows_across = -(-width // side)
        together = _STRIP * torch.get_num_threads()
        rows = max(1, together // (windows_across * side * side)) * side
        for top in range(0, height, rows):
            strip = tokens[top : top + rows]
            into = answer[top // shrink : (top + rows) // shrink]
            seen = self._normed(strip, self._norm_1)
            if self._shortcut:
                short = self._shortcut(seen)
                into.copy_(maxima_of_2x2(short) if self._pooled else short)
            # Tokens are added after the norm, as zeros, to fill the last windows.
            below, right = -len(strip) % side, -width % side
            if below or right:
                seen = F.pad(seen, (0, 0, 0, right, 0, below))
            found = self._attention.in_windows(seen, side, self._pooled)
            into += found[: len(into), : into.shape[1]]
            self._mlp(into)
        return answer

    def _of_all(self, tokens: Tensor) -> Tensor:
        height, width, channels = tokens.shape
        rows = tokens.view(-1, channels)
        found = self._attention.of_all(self._normed(rows, self._norm_1))
        together = _STRIP * torch.get_num_threads()
        for start in range(0, len(rows), together):
            part = rows[start : start + together]
            part += self._attention.project(found[start : start + together])
            self._mlp(part)
        return rows.reshape(height, width, channels)

    def _mlp(self, tokens: Tensor) -> None:
        hidden = self._activation(self._widen(self._normed(tokens, self._norm_2)))
        tokens += self._narrow(hidden)

    def _normed(self, tokens: Tensor, norm: Any) -> Tensor:
        """Apply a norm in single precision, and give what it makes to the products."""
        return normed(tokens, norm).to(self._dtype)
