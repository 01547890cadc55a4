"""The mask decoder without the work that is the same for every prompt, or thrown away.

The same arithmetic as `sam2/modeling/sam/mask_decoder.py`; but quality is predicted before the
masks, and only the masks that are taken are made.
"""

from __future__ import annotations

from dataclasses import dataclass
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
        """Return how many prompts of so many tokens are decoded together.

        One prompt alone takes memory in proportion to its tokens: `max_points` bounds that.
        """
        by_tokens = _TOKENS_BYTES // (max(1, tokens) * self._token_bytes)
        return max(1, min(_PIXELS_BYTES // self._pixels_bytes, by_tokens))

    def image_side(self, features: Features) -> ImageSide:
        """Compute what all prompts without a mask share."""
        pixels = features.stride_16.flatten(0, 1) + self._no_mask
        keys, values = self._transformer.image_side(pixels)
        stride_8, stride_4 = self._upscaling.image_side(features.stride_8, features.stride_4)
        return ImageSide(pixels, keys, values, stride_8, stride_4)

    def decode(
        self, side: ImageSide, sparse: Tensor, dense: Tensor | None = None
    ) -> LazyCandidates:
        """Propose masks.

        Args:
            side: Of the image.
            sparse: `(B, T, C)`, the encoded points and corners of the prompts.
            dense: `(B, C, h, w)`, the encoded masks of the prompts; None for prompts without.
        """
        if dense is None:
            outputs, pixels = self._transformed(side, sparse)
        else:
            parts = [
                self._transformed(self._with_mask(side, mask), sparse[row : row + 1])
                for row, mask in enumerate(dense)
            ]
            outputs, pixels = (torch.cat(part) for part in zip(*parts, strict=True))
        scores = self._iou_head(outputs[:, self._iou_token])
        return LazyCandidates(scores, self, side, outputs[:, self._iou_token + 1 :], pixels)

    def logits(
        self, side: ImageSide, pixels: Tensor, mask_tokens: Tensor, chosen: list[int]
    ) -> Tensor:
        """Make the logits of some candidates of one prompt.

        Args:
            side: Of the image.
            pixels: `(M, C)`, those of the prompt, behind the transformer.
            mask_tokens: `(4, C)`, the output tokens of its candidates.
            chosen: Indices of candidates.

        Returns:
            `(K, 4h, 4w)`.
        """
        weights = [self._hypernetworks[index](mask_tokens[index]) for index in chosen]
        logits = pixels.new_empty(len(chosen), len(pixels), 16)
        self._upscaling(side, pixels, weights, logits)
        return in_image_order(logits, *self._grid_hw)

    def _transformed(self, side: ImageSide, sparse: Tensor) -> tuple[Tensor, Tensor]:
        """Run the transformer; return its learned tokens, and each prompt's pixels."""
        tokens = torch.cat([self._learned.expand(len(sparse), -1, -1), sparse], dim=1)
        return self._transformer(side, tokens, len(self._learned))

    def _with_mask(self, side: ImageSide, mask: Tensor) -> ImageSide:
        """Return an image's side for one prompt with a mask, encoded as `(C, h, w)`."""
        pixels = side.pixels + (mask.flatten(1).t() - self._no_mask)
        keys, values = self._transformer.image_side(pixels)
        return side._replace(pixels=pixels, keys=keys, values=values)


@dataclass(frozen=True)
class LazyCandidates:
    """Candidates whose logits are made when they are taken; see `Candidates`.

    Attributes:
        scores: `(B, 4)`.
        decoder: Makes logits.
        side: Of the image.
        mask_tokens: `(B, 4, C)`, output tokens.
        pixels: `(B, M, C)`, behind the transformer.
    """

    scores: Tensor
    decoder: Decoder
    side: ImageSide
    mask_tokens: Tensor
    pixels: Tensor

    def logits(self, chosen: Tensor, rows: Tensor | None = None) -> Tensor:
        """Make the logits of some candidates; see `Candidates.logits`."""
        numbers = range(len(chosen)) if rows is None else rows.tolist()
        made = [
            self.decoder.logits(self.side, self.pixels[row], self.mask_tokens[row], indices)
            for row, indices in zip(numbers, chosen.tolist(), strict=True)
        ]
        return torch.stack(made)
