"""Encode prompts for the mask decoder: points and boxes as tokens, masks as pixel embeddings."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the name that every PyTorch reader expects
from torch import Tensor

from sam2_block.sam2.network import PromptBatch


class PromptEncoder:
    """Encodes points, the corners of boxes, and masks; in single precision.

    The same arithmetic as `PromptEncoder` of `sam2/modeling/sam/prompt_encoder.py`. That module
    creates tensors in the process's default type, so its results depend on it; these do not.

    Args:
        encoder: Meta's module, its weights loaded.
    """

    def __init__(self, encoder: Any) -> None:
        self._position_encoding = encoder.pe_layer
        self._input_hw: tuple[int, int] = encoder.input_image_size
        # (4, C): negative and positive points, top left and bottom right corners.
        self._point_embeddings = torch.cat([label.weight for label in encoder.point_embeddings])
        self._padding = encoder.not_a_point_embed.weight
        self._downscale_masks = encoder.mask_downscaling

    def sparse(self, prompts: PromptBatch) -> Tensor:
        """Encode points and corners.

        Returns:
            `(B, T + 1, C)`: the last token is padding, as in Meta's predictor. `(B, 0, C)` for
            prompts that consist of a mask only.
        """
        points = prompts.coordinates + 0.5  # pixel centres
        if points.shape[1] == 0:
            return points.new_empty(len(points), 0, self._point_embeddings.shape[1])
        points = torch.cat([points, points.new_zeros(len(points), 1, 2)], dim=1)
        encoded: Tensor = self._position_encoding.forward_with_coords(points, self._input_hw)
        encoded[:, :-1] += F.embedding(prompts.labels, self._point_embeddings)
        encoded[:, -1] = self._padding
        return encoded

    def dense(self, mask_logits: Tensor) -> Tensor:
        """Encode masks, `(B, s, s)` to `(B, C, h, w)`."""
        encoded: Tensor = self._downscale_masks(mask_logits[:, None])
        return encoded
