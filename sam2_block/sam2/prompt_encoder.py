"""Encode prompts into the tokens, and the mask into the pixels, that the mask decoder takes."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the name that every PyTorch reader expects
from torch import Tensor

from sam2_block.sam2.network import PromptBatch


class PromptEncoder:
    """Encodes points, the corners of boxes, and masks; in single precision.

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
        self._downscale_masks = encoder.mask_downscaling

    def sparse(self, prompts: PromptBatch) -> Tensor:
        """Encode points and corners.

        Returns:
            `(B, T + 1, C)`: a padding token comes last, as in Meta's predictor; `(B, 0, C)` of
            masks alone.
        """
        points = prompts.coordinates + 0.5  # pixel centres
        if points.shape[1] == 0:
            return points.new_empty(len(points), 0, self._kinds.shape[1])
        points = torch.cat([points, points.new_zeros(len(points), 1, 2)], dim=1)
        encoded: Tensor = self._positions.forward_with_coords(points, self._side_hw)
        encoded[:, :-1] += F.embedding(prompts.labels, self._kinds)
        encoded[:, -1] = self._padding
        return encoded

    def dense(self, mask_logits: Tensor) -> Tensor:
        """Encode masks, `(B, s, s)` to `(B, C, h, w)`."""
        encoded: Tensor = self._downscale_masks(mask_logits[:, None])
        return encoded
