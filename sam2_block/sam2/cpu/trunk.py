"""Hiera, the image encoder's trunk, computed one strip of the image at a time.

The same arithmetic as `Hiera` of `sam2/modeling/backbones/hieradet.py`. Blocks with windowed
attention run one strip of windows at a time, from the first norm to the second residual. A strip
stays in a core's cache, and only the tokens are held in memory for the whole image. The residual
stream is in single precision, whatever the precision of the products.
"""

from __future__ import annotations

import itertools
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the name that every PyTorch reader expects
from torch import Tensor

from sam2_block.compute.compute_pool import each
from sam2_block.sam2.cpu.attention import STRIP, Attention, max_pool_2x2
from sam2_block.sam2.cpu.linear import Linear, layer_norm
from sam2_block.sam2.cpu.strips import strip_size, strips


class Trunk:
    """Encodes pixels into tokens at several scales.

    Args:
        trunk: Meta's `Hiera`, its weights loaded.
        side: Side of the square input, in pixels.
        dtype: Data type of the products.
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
        tokens = self._embed(pixels)
        stages = []
        for index, block in enumerate(self._blocks):
            tokens = block(tokens)
            if index in self._stage_ends:
                stages.append(tokens)
        return stages

    def _embed(self, pixels: Tensor) -> Tensor:
        """Embed patches and add their positions, `(1, 3, side, side)` to `(h, w, C)`."""
        layer, height = self._patches, pixels.shape[2]
        (kernel, _), (stride, _) = layer.kernel_size, layer.stride
        pad_y, pad_x = layer.padding
        tokens: Tensor = self._positions.new_empty(self._positions.shape)

        def embed(rows: slice) -> None:
            first = rows.start * stride - pad_y
            last = (rows.stop - 1) * stride - pad_y + kernel
            # Pad only the borders of the image, not those of the strip.
            strip = F.pad(
                pixels[:, :, max(0, first) : last],
                (pad_x, pad_x, max(0, -first), max(0, last - height)),
            )
            strip = strip.contiguous(memory_format=torch.channels_last)
            patches = F.conv2d(strip, layer.weight, layer.bias, layer.stride)
            torch.add(patches[0].permute(1, 2, 0), self._positions[rows], out=tokens[rows])

        each(embed, strips(len(tokens), STRIP, width=tokens.shape[1]))
        return tokens


class _Block:
    """One transformer block, as Meta's `MultiScaleBlock`."""

    def __init__(self, block: Any, dtype: torch.dtype) -> None:
        self._window = int(block.window_size)
        self._pooled = bool(block.q_stride)
        self._width = int(block.dim_out)
        self._norm_1, self._norm_2 = block.norm1, block.norm2
        self._dtype = dtype
        self._attention = Attention(block.attn, dtype)
        self._mlp_in, self._mlp_out = (Linear.of(layer, dtype) for layer in block.mlp.layers)
        self._activation = block.mlp.act
        # In single precision: the shortcut's output replaces the residual stream, so rounding it
        # to half precision would cause most of the error.
        widens = block.dim != block.dim_out
        self._shortcut = Linear.of(block.proj, torch.float32) if widens else None

    def __call__(self, tokens: Tensor) -> Tensor:
        """Apply the block to `(h, w, C)`, which may be overwritten."""
        return self._windowed(tokens) if self._window else self._global(tokens)

    def _windowed(self, tokens: Tensor) -> Tensor:
        height, width, _ = tokens.shape
        side, stride = self._window, 2 if self._pooled else 1
        output = tokens
        if self._shortcut:
            output = tokens.new_empty(height // stride, width // stride, self._width)
        down, across = -(-height // side), -(-width // side)
        windows = strip_size(STRIP, down * across * side**2) // side**2
        rows, columns = max(1, windows // across) * side, max(1, min(windows, across)) * side

        def apply(corner: tuple[int, int]) -> None:
            top, left = corner
            strip = tokens[top : top + rows, left : left + columns]
            target = output[
                top // stride : (top + rows) // stride, left // stride : (left + columns) // stride
            ]
            x = layer_norm(strip, self._norm_1)
            if self._shortcut:
                shortcut = self._shortcut(x)
                target.copy_(max_pool_2x2(shortcut) if self._pooled else shortcut)
            x = x.to(self._dtype)
            # Pad the last windows with zeros, after the norm
            below, right = -strip.shape[0] % side, -strip.shape[1] % side
            if below or right:
                x = F.pad(x, (0, 0, 0, right, 0, below))
            # Attention, MLP and their residuals
            attended = self._attention.attend_windows(x, side, self._pooled)
            target += attended[: target.shape[0], : target.shape[1]]
            self._mlp(target)

        each(apply, itertools.product(range(0, height, rows), range(0, width, columns)))
        return output

    def _global(self, tokens: Tensor) -> Tensor:
        height, width, channels = tokens.shape
        rows = tokens.view(-1, channels)
        attended = self._attention.attend_globally(rows, lambda x: self._norm(x, self._norm_1))

        def project(strip: slice) -> None:
            x = rows[strip]
            x += self._attention.project(attended[strip])
            self._mlp(x)

        each(project, strips(len(rows), STRIP))
        return rows.reshape(height, width, channels)

    def _mlp(self, tokens: Tensor) -> None:
        hidden = self._activation(self._mlp_in(self._norm(tokens, self._norm_2)))
        tokens += self._mlp_out(hidden)

    def _norm(self, tokens: Tensor, norm: Any) -> Tensor:
        """Apply a norm in single precision, and convert to the data type of the products."""
        return layer_norm(tokens, norm).to(self._dtype)
