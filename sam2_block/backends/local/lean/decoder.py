"""The mask decoder without the work that is the same for every prompt, or thrown away.

The same arithmetic as `sam2/modeling/sam/mask_decoder.py`; but quality is predicted before the
masks, and one mask a prompt is made: the best.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sam2_block.backends.local.lean.image_side import ImageSide
from sam2_block.backends.local.lean.neck import Features
from sam2_block.backends.local.lean.transformer import Transformer
from sam2_block.backends.local.lean.upscaling import Upscaling, in_image_order

# Bytes that the pixels of the prompts decoded together may take. A few prompts fill the caches, and
# more of them only wait for memory. Their tokens may take as much.
_PIXELS_BYTES = 12 * 1024**2
_TOKENS_BYTES = 24 * 1024**2

# A token has a row of every channel for each head in three matrices of the attention of pixels to
# tokens, in one of tokens to pixels, and in what these are computed from.
_ROWS_A_HEAD = 8


class Decoder:
    """Decodes prompts on one image at a time.

    Args:
        model: A `SAM2Base`.
    """

    def __init__(self, model: Any) -> None:
        self._decoder = model.sam_mask_decoder
        self._no_mask = model.sam_prompt_encoder.no_mask_embed.weight
        self._grid_hw: tuple[int, int] = tuple(model.sam_prompt_encoder.image_embedding_size)
        with torch.inference_mode():
            positions = model.sam_prompt_encoder.get_dense_pe()[0].flatten(1).t().contiguous()
        self._transformer = Transformer(self._decoder.transformer, positions)
        self._upscaling = Upscaling(self._decoder.output_upscaling)
        self._pixels_bytes: int = positions.nbytes
        heads = int(self._decoder.transformer.layers[0].cross_attn_image_to_token.num_heads)
        self._token_bytes: int = heads * _ROWS_A_HEAD * positions[0].nbytes

    def batch_size(self, tokens: int) -> int:
        """Return how many prompts of so many tokens are decoded together.

        One prompt alone takes memory in proportion to its tokens: `max_points` bounds that.
        """
        by_tokens = _TOKENS_BYTES // (max(1, tokens) * self._token_bytes)
        return max(1, min(_PIXELS_BYTES // self._pixels_bytes, by_tokens))

    def image_side(self, features: Features) -> ImageSide:
        """Compute what every prompt on an image shares."""
        pixels = features.stride_16.flatten(0, 1) + self._no_mask
        keys, values = self._transformer.image_side(pixels)
        stride_8, stride_4 = self._upscaling.image_side(features.stride_8, features.stride_4)
        return ImageSide(pixels, keys, values, stride_8, stride_4)

    def decode(self, side: ImageSide, sparse: Tensor, multimask: bool) -> tuple[Tensor, Tensor]:
        """Answer prompts.

        Args:
            side: Of the image.
            sparse: `(B, T, C)`, the prompts' own tokens.
            multimask: Choose among three masks, or take the single one.

        Returns:
            Logits `(B, 4h, 4w)` of the best mask of each prompt, and its score `(B,)`.
        """
        decoder = self._decoder
        parts = [decoder.iou_token.weight, decoder.mask_tokens.weight]
        if decoder.pred_obj_scores:
            parts.insert(0, decoder.obj_score_token.weight)
        before = int(decoder.pred_obj_scores)
        tokens = torch.cat([torch.cat(parts).expand(len(sparse), -1, -1), sparse], dim=1)
        outputs = before + 1 + decoder.num_mask_tokens
        tokens, pixels = self._transformer(side, tokens, outputs)
        scores = decoder.iou_prediction_head(tokens[:, before])
        of_masks = tokens[:, before + 1 :]
        best_of_three = scores[:, 1:].argmax(1) + 1
        chosen = best_of_three if multimask else torch.zeros_like(best_of_three)
        logits = side.pixels.new_empty(len(chosen), len(side.pixels), 16)

        def fill(row: int) -> None:
            mask = int(chosen[row])
            weight = decoder.output_hypernetworks_mlps[mask](of_masks[row, mask])
            self._upscaling(side, pixels[row], weight, logits[row])

        for row in range(len(chosen)):
            fill(row)
        if not multimask and decoder.dynamic_multimask_via_stability:
            # As Meta's decoder does: an unstable single mask gives way to the best of three.
            stability = decoder._get_stability_scores(logits)
            for row in torch.nonzero(stability < decoder.dynamic_multimask_stability_thresh)[:, 0]:
                chosen[row] = best_of_three[row]
                fill(int(row))
        return in_image_order(logits, *self._grid_hw), scores.gather(1, chosen[:, None])[:, 0]
