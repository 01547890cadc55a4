"""The mask decoder, without repeated or discarded work.

The same arithmetic as `sam2/modeling/sam/mask_decoder.py`, but what depends on the image alone is
computed once an image, scores are predicted before masks, and only selected masks are upscaled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sam2_block.sam2.cpu.cached_image import CachedImage
from sam2_block.sam2.cpu.neck import Features
from sam2_block.sam2.cpu.transformer import Transformer
from sam2_block.sam2.cpu.upscaling import Upscaling, in_image_order

# Maximum of bytes of the pixels of one batch of prompts: a few prompts fill the caches, and more
# only wait for memory. And that of its tokens.
_PIXELS_BYTES = 12 * 1024**2
_TOKENS_BYTES = 24 * 1024**2

# For each head a token has a row of all channels in three matrices of image-to-token attention, in
# one of token-to-image attention, and in their operands.
_ROWS_A_HEAD = 8


class Decoder:
    """Decodes prompts on one image at a time.

    Args:
        model: A `SAM2Base`.
    """

    def __init__(self, model: Any) -> None:
        decoder = model.sam_mask_decoder
        self._iou_head = decoder.iou_prediction_head
        self._hypernetworks = decoder.output_hypernetworks_mlps
        learned = [decoder.iou_token.weight, decoder.mask_tokens.weight]
        if decoder.pred_obj_scores:
            learned.insert(0, decoder.obj_score_token.weight)
        self._learned = torch.cat(learned).detach()
        self._iou_token = int(decoder.pred_obj_scores)
        self._no_mask = model.sam_prompt_encoder.no_mask_embed.weight
        self._grid_hw: tuple[int, int] = tuple(model.sam_prompt_encoder.image_embedding_size)
        with torch.inference_mode():
            positions = model.sam_prompt_encoder.get_dense_pe()[0].flatten(1).t().contiguous()
        self._transformer = Transformer(decoder.transformer, positions)
        self._upscaling = Upscaling(decoder.output_upscaling)
        self._pixels_bytes: int = positions.nbytes
        heads = int(decoder.transformer.layers[0].cross_attn_image_to_token.num_heads)
        self._token_bytes: int = heads * _ROWS_A_HEAD * positions[0].nbytes

    def batch_size(self, tokens: int) -> int:
        """Return the batch size for prompts of so many tokens.

        One prompt alone takes memory in proportion to its tokens: `max_points` bounds that.
        """
        by_tokens = _TOKENS_BYTES // (max(1, tokens) * self._token_bytes)
        return max(1, min(_PIXELS_BYTES // self._pixels_bytes, by_tokens))

    def cached_image(self, features: Features) -> CachedImage:
        """Compute what depends on the image alone, for prompts without a mask."""
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
            outputs, pixels = self._transformed(image, sparse)
        else:
            parts = [
                self._transformed(self._with_mask(image, mask), sparse[row : row + 1])
                for row, mask in enumerate(dense)
            ]
            outputs, pixels = (torch.cat(part) for part in zip(*parts, strict=True))
        # Predict the score of every candidate
        scores = self._iou_head(outputs[:, self._iou_token])
        return LazyCandidates(scores, self, image, outputs[:, self._iou_token + 1 :], pixels)

    def logits(
        self, image: CachedImage, pixels: Tensor, mask_tokens: Tensor, chosen: list[int]
    ) -> Tensor:
        """Predict the logits of selected candidates of one prompt.

        Args:
            image: The encoded image.
            pixels: `(M, C)`, the prompt's, after the transformer.
            mask_tokens: `(4, C)`, the transformer's outputs for its candidates.
            chosen: Indices of candidates.

        Returns:
            `(K, 4h, 4w)`.
        """
        # Predict mask weights, upscale pixels, and multiply both
        weights = [self._hypernetworks[index](mask_tokens[index]) for index in chosen]
        logits = pixels.new_empty(len(chosen), len(pixels), 16)
        self._upscaling(image, pixels, weights, logits)
        return in_image_order(logits, *self._grid_hw)

    def _transformed(self, image: CachedImage, sparse: Tensor) -> tuple[Tensor, Tensor]:
        """Run the transformer; return outputs of the learned tokens, and each prompt's pixels."""
        tokens = torch.cat([self._learned.expand(len(sparse), -1, -1), sparse], dim=1)
        return self._transformer(image, tokens, len(self._learned))

    def _with_mask(self, image: CachedImage, mask: Tensor) -> CachedImage:
        """Return the image with one prompt's encoded mask `(C, h, w)`, not "no mask"."""
        pixels = image.pixels + (mask.flatten(1).t() - self._no_mask)
        keys, values = self._transformer.keys_and_values(pixels)
        return image._replace(pixels=pixels, keys=keys, values=values)


@dataclass(frozen=True)
class LazyCandidates:
    """Candidates whose logits are predicted when they are selected; see `Candidates`.

    Attributes:
        scores: `(B, 4)`.
        decoder: Predicts logits.
        image: The encoded image.
        mask_tokens: `(B, 4, C)`, the transformer's outputs.
        pixels: `(B, M, C)`, after the transformer.
    """

    scores: Tensor
    decoder: Decoder
    image: CachedImage
    mask_tokens: Tensor
    pixels: Tensor

    def logits(self, chosen: Tensor, rows: Tensor | None = None) -> Tensor:
        """Predict the logits of selected candidates; see `Candidates.logits`."""
        numbers = range(len(chosen)) if rows is None else rows.tolist()
        logits = [
            self.decoder.logits(self.image, self.pixels[row], self.mask_tokens[row], indices)
            for row, indices in zip(numbers, chosen.tolist(), strict=True)
        ]
        return torch.stack(logits)
