"""Hiera, the image encoder's trunk, a strip of the image at a time.

The same arithmetic as `Hiera` of `sam2/modeling/backbones/hieradet.py`. Blocks with windowed
attention run one strip of windows at a time, from the first norm to the second residual: a strip
stays in a core's cache, and of the whole image only the tokens stand in memory. The residual stream
is in single precision, whatever the precision of the products.
"""

from __future__ import annotations

import itertools
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the name that every PyTorch reader expects
from torch import Tensor

from sam2_block.compute.compute_pool import each
from sam2_block.sam2.cpu.attention import STRIP, Attention, maxima_of_2x2
from sam2_block.sam2.cpu.linear import Linear, normed
from sam2_block.sam2.cpu.strips import strip_of, strips


class Trunk:
    """Encodes pixels into tokens of several scales.

    Args:
        trunk: Meta's `Hiera`, its weights loaded.
        side: Side of the square input, in pixels.
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
        tokens = self._embed(pixels)
        stages = []
        for index, block in enumerate(self._blocks):
            tokens = block(tokens)
            if index in self._stage_ends:
                stages.append(tokens)
        return stages

    def _embed(self, pixels: Tensor) -> Tensor:
        """Make a token of each patch; `(1, 3, side, side)` to `(h, w, C)`."""
        layer, height = self._patches, pixels.shape[2]
        (kernel, _), (stride, _) = layer.kernel_size, layer.stride
        above, across = layer.padding
        tokens: Tensor = self._positions.new_empty(self._positions.shape)

        def embed(rows: slice) -> None:
            first = rows.start * stride - above
            last = (rows.stop - 1) * stride - above + kernel
            # Pad the border of the image, not that of the strip.
            strip = F.pad(
                pixels[:, :, max(0, first) : last],
                (across, across, max(0, -first), max(0, last - height)),
            )
            strip = strip.contiguous(memory_format=torch.channels_last)
            patches = F.conv2d(strip, layer.weight, layer.bias, layer.stride)
            torch.add(patches[0].permute(1, 2, 0), self._positions[rows], out=tokens[rows])

        each(embed, strips(len(tokens), STRIP, width=tokens.shape[1]))
        return tokens


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
        # Its output replaces the residual stream: rounded to half precision it would be most of
        # the error.
        widens = block.dim != block.dim_out
        self._shortcut = Linear.of(block.proj, torch.float32) if widens else None

    def __call__(self, tokens: Tensor) -> Tensor:
        """Apply the block to `(h, w, C)`, which may be overwritten."""
        return self._of_windows(tokens) if self._window else self._of_all(tokens)

    def _of_windows(self, tokens: Tensor) -> Tensor:
        height, width, _ = tokens.shape
        side, shrink = self._window, 2 if self._pooled else 1
        output = tokens
        if self._shortcut:
            output = tokens.new_empty(height // shrink, width // shrink, self._width)
        windows = -(-width // side)
        strip = strip_of(STRIP, -(-height // side) * windows * side**2) // side**2
        rows, columns = max(1, strip // windows) * side, max(1, min(strip, windows)) * side

        def attend(corner: tuple[int, int]) -> None:
            top, left = corner
            part = tokens[top : top + rows, left : left + columns]
            into = output[
                top // shrink : (top + rows) // shrink, left // shrink : (left + columns) // shrink
            ]
            x = normed(part, self._norm_1)
            if self._shortcut:
                short = self._shortcut(x)
                into.copy_(maxima_of_2x2(short) if self._pooled else short)
            x = x.to(self._dtype)
            # Pad the last windows with zeros, after the norm.
            below, right = -part.shape[0] % side, -part.shape[1] % side
            if below or right:
                x = F.pad(x, (0, 0, 0, right, 0, below))
            attended = self._attention.in_windows(x, side, self._pooled)
            into += attended[: into.shape[0], : into.shape[1]]
            self._mlp(into)

        each(attend, itertools.product(range(0, height, rows), range(0, width, columns)))
        return output

    def _of_all(self, tokens: Tensor) -> Tensor:
        height, width, channels = tokens.shape
        rows = tokens.view(-1, channels)
        attended = self._attention.of_all(rows, lambda part: self._normed(part, self._norm_1))

        def project(part: slice) -> None:
            strip = rows[part]
            strip += self._attention.project(attended[part])
            self._mlp(strip)

        each(project, strips(len(rows), STRIP))
        return rows.reshape(height, width, channels)

    def _mlp(self, tokens: Tensor) -> None:
        hidden = self._activation(self._widen(self._normed(tokens, self._norm_2)))
        tokens += self._narrow(hidden)

    def _normed(self, tokens: Tensor, norm: Any) -> Tensor:
        """Apply a norm in single precision, for a product in the block's."""
        return normed(tokens, norm).to(self._dtype)
