"""Encode prompts into the tokens that the mask decoder takes."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the name that every PyTorch reader expects
from torch import Tensor


class PromptTokens:
    """Encodes points and the corners of boxes; in single precision.

    The same arithmetic as `PromptEncoder` of `sam2/modeling/sam/prompt_encoder.py`, whose tensors
    have the process's default type, and so change with it.

    Args:
        encoder: Meta's module, its weights loaded.
    """

    def __init__(self, encoder: Any) -> None:
        self._positions = encoder.pe_layer
        self._side_hw: tuple[int, int] = encoder.input_image_size
        # (4, C): negative and positive points, top left and bottom right corners.
        self._kinds = torch.cat([embedding.weight for embedding in encoder.point_embeddings])
        self._padding = encoder.not_a_point_embed.weight

    def __call__(self, tokens: tuple[Tensor, Tensor]) -> Tensor:
        """Encode prompts of equally many points.

        Args:
            tokens: Coordinates `(B, T, 2)` (x, y) in float32 on the encoder's square, and labels
                `(B, T)` in int32, 0 to 3.

        Returns:
            `(B, T + 1, C)`: a padding token comes last, as in Meta's predictor.
        """
        points, labels = tokens
        points = points + 0.5  # pixel centres
        points = torch.cat([points, points.new_zeros(len(points), 1, 2)], dim=1)
        encoded: Tensor = self._positions.forward_with_coords(points, self._side_hw)
        encoded[:, :-1] += F.embedding(labels, self._kinds)
        encoded[:, -1] = self._padding
        return encoded
