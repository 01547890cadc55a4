"""The mask decoder, without repeated or discarded work.

The same arithmetic as `sam2/modeling/sam/mask_decoder.py`, with three differences: tensors that
depend only on the image are computed once per image, scores are predicted before masks, and only
selected masks are upscaled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sam2_block.sam2.cpu.cached_image import CachedImage
from sam2_block.sam2.cpu.neck import Features
from sam2_block.sam2.cpu.transformer import Transformer
from sam2_block.sam2.cpu.upscaling import Upscaling, to_image_order

# Maximum size of the pixels of one batch of prompts, in bytes: a few prompts fill the caches, and
# more would only wait for memory.
_MAX_PIXELS_BYTES = 12 * 1024**2

# Maximum size of the tokens of one batch of prompts, in bytes.
_MAX_TOKENS_BYTES = 24 * 1024**2

# Rows of all channels for each token and head: in three matrices of image-to-token attention, in
# one of token-to-image attention, and in their operands.
_ROWS_PER_HEAD = 8


class Decoder:
    """Decodes prompts on one image at a time.

    Args:
        model: A `SAM2Base`.
    """

    def __init__(self, model: Any) -> None:
        decoder = model.sam_mask_decoder
        self._iou_head = decoder.iou_prediction_head
        self._hypernetworks = decoder.output_hypernetworks_mlps
        output_tokens = [decoder.iou_token.weight, decoder.mask_tokens.weight]
        if decoder.pred_obj_scores:
            output_tokens.insert(0, decoder.obj_score_token.weight)
        self._output_tokens = torch.cat(output_tokens).detach()
        self._iou_index = int(decoder.pred_obj_scores)  # of the IoU token; mask tokens follow
        self._no_mask = model.sam_prompt_encoder.no_mask_embed.weight
        self._grid_hw: tuple[int, int] = tuple(model.sam_prompt_encoder.image_embedding_size)
        with torch.inference_mode():
            positions = model.sam_prompt_encoder.get_dense_pe()[0].flatten(1).t().contiguous()
        self._transformer = Transformer(decoder.transformer, positions)
        self._upscaling = Upscaling(decoder.output_upscaling)
        self._pixels_bytes: int = positions.nbytes
        heads = int(decoder.transformer.layers[0].cross_attn_image_to_token.num_heads)
        self._token_bytes: int = heads * _ROWS_PER_HEAD * positions[0].nbytes

    def batch_size(self, tokens: int) -> int:
        """Return the maximum number of prompts, with `tokens` points and corners each, in a batch.

        It is at least 1. The memory of one prompt grows with its tokens; the setting `max_points`
        bounds it.
        """
        by_tokens = _MAX_TOKENS_BYTES // (max(1, tokens) * self._token_bytes)
        return max(1, min(_MAX_PIXELS_BYTES // self._pixels_bytes, by_tokens))

    def cached_image(self, features: Features) -> CachedImage:
        """Compute every tensor that depends only on the image, for prompts without a mask."""
        pixels = features.stride_16.flatten(0, 1) + self._no_mask
        keys, values = self._transformer.keys_and_values(pixels)
        stride_8, stride_4 = self._upscaling.high_res(features.stride_8, features.stride_4)
        return CachedImage(pixels, keys, values, stride_8, stride_4)

    def decode(
        self, image: CachedImage, sparse: Tensor, dense: Tensor | None = None
    ) -> LazyCandidates:
        """Propose masks.

        Args:
            image: The encoded image.
            sparse: `(B, T, C)`, the encoded points and corners of the prompts.
            dense: `(B, C, h, w)`, the encoded masks of the prompts; None for prompts without.
        """
        # Run the transformer
        if dense is None:
            outputs, pixels = self._run_transformer(image, sparse)
        else:
            parts = [
                self._run_transformer(self._with_mask(image, mask), sparse[row : row + 1])
                for row, mask in enumerate(dense)
            ]
            outputs, pixels = (torch.cat(part) for part in zip(*parts, strict=True))
        # Predict the score of every candidate
        scores = self._iou_head(outputs[:, self._iou_index])
        return LazyCandidates(scores, self, image, outputs[:, self._iou_index + 1 :], pixels)

    def logits(
        self, image: CachedImage, pixels: Tensor, mask_tokens: Tensor, indices: list[int]
    ) -> Tensor:
        """Predict the logits of selected candidates of one prompt.

        Args:
            image: The encoded image.
            pixels: `(M, C)`, the prompt's pixels after the transformer.
            mask_tokens: `(4, C)`, the transformer's outputs for the prompt's candidates.
            indices: Indices of candidates.

        Returns:
            `(K, 4h, 4w)`.
        """
        # Predict mask weights, upscale pixels, and multiply both
        weights = [self._hypernetworks[index](mask_tokens[index]) for index in indices]
        logits = pixels.new_empty(len(indices), len(pixels), 16)
        self._upscaling(image, pixels, weights, logits)
        return to_image_order(logits, *self._grid_hw)

    def _run_transformer(self, image: CachedImage, sparse: Tensor) -> tuple[Tensor, Tensor]:
        """Return the transformer's results for the output tokens, and each prompt's pixels."""
        tokens = torch.cat([self._output_tokens.expand(len(sparse), -1, -1), sparse], dim=1)
        return self._transformer(image, tokens, len(self._output_tokens))

    def _with_mask(self, image: CachedImage, mask: Tensor) -> CachedImage:
        """Return the image with a prompt's encoded mask `(C, h, w)` in place of "no mask"."""
        pixels = image.pixels + (mask.flatten(1).t() - self._no_mask)
        keys, values = self._transformer.keys_and_values(pixels)
        return image._replace(pixels=pixels, keys=keys, values=values)


@dataclass(frozen=True)
class LazyCandidates:
    """Candidates whose logits are predicted on demand; see `Candidates`.

    Attributes:
        scores: `(B, 4)`.
        decoder: Predicts the logits.
        image: The encoded image.
        mask_tokens: `(B, 4, C)`, the transformer's outputs for the candidates.
        pixels: `(B, M, C)`, pixels after the transformer.
    """

    scores: Tensor
    decoder: Decoder
    image: CachedImage
    mask_tokens: Tensor
    pixels: Tensor

    def logits(self, indices: Tensor, rows: Tensor | None = None) -> Tensor:
        """Predict the logits of selected candidates; see `Candidates.logits`."""
        prompts = range(len(indices)) if rows is None else rows.tolist()
        logits = [
            self.decoder.logits(self.image, self.pixels[row], self.mask_tokens[row], candidates)
            for row, candidates in zip(prompts, indices.tolist(), strict=True)
        ]
        return torch.stack(logits)
