"""Take out of the image encoder what costs memory and changes nothing of its answer."""

from __future__ import annotations

from typing import Any

import torch

# At most this many bytes for the widest layer of an MLP or an attention. In the first stages of the
# tiny encoder they would be 100 and 150 MB, and as much again for what is made of them.
_WIDEST_BYTES = 16 * 1024**2


def make_lean(model: Any, device: torch.device) -> None:
    """Change a `SAM2Base` in place, so that encoding an image takes less memory.

    Args:
        model: The model, its weights loaded: afterwards some have other names.
        device: Where it is to run. On a GPU the layers stay whole: many small products are slower.
    """
    model.image_encoder.neck.position_encoding = _NoPositions()
    if device.type == "cpu":
        for block in model.image_encoder.trunk.blocks:
            block.mlp = _RowChunks(block.mlp)
            block.attn = _WindowChunks(block.attn)


class _NoPositions(torch.nn.Module):
    """Stands in for the position encodings, which only the memory of the video model reads.

    They would take 90 MB for good and three times that while they are made.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.new_empty(0)


class _RowChunks(torch.nn.Module):
    """Applies an MLP, which treats every row on its own, to some rows at a time."""

    def __init__(self, mlp: Any) -> None:
        super().__init__()
        self.mlp = mlp
        self._rows = max(1, _WIDEST_BYTES // (4 * mlp.layers[0].out_features))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = torch.split(x.flatten(0, -2), self._rows)
        rows = torch.cat([self.mlp(part) for part in parts])
        return rows.reshape(*x.shape[:-1], -1)


class _WindowChunks(torch.nn.Module):
    """Applies an attention, which looks at every window on its own, to some windows at a time.

    Where the attention is global there is one window, and nothing is split.
    """

    def __init__(self, attention: Any) -> None:
        super().__init__()
        self.attention = attention

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        _, height, width, _ = x.shape
        window_bytes = 4 * height * width * self.attention.qkv.out_features
        parts = torch.split(x, max(1, _WIDEST_BYTES // window_bytes))
        return torch.cat([self.attention(part) for part in parts])
