"""The mask decoder without the work that is the same for every prompt, or thrown away.

The same arithmetic as `sam2/modeling/sam/mask_decoder.py` and `transformer.py`, in another order:

- The image's side of the first attention is the same for every prompt, and computed once.
- Attention between few tokens and many pixels projects the tokens into the pixels' space, in place
  of all pixels into the attention's: `(x Wk) q = x (Wk q)`. It moves a third of the memory.
- Pixels stay in rows of channels through both upscalings, which are matrix products for a stride of
  their kernel's size; only logits are brought into the order of an image.
- Quality is predicted before the masks, and one mask a prompt is made: the best.

Used on a CPU in single precision, where the decoder waits for memory. A GPU does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the name that every PyTorch reader expects
from torch import Tensor

# Pixels that are upscaled together: what is made of them stays in a core's cache.
_PIXELS = 256


@dataclass(frozen=True)
class ImageSide:
    """What every prompt on an image shares; `M` pixels of stride 16, `C` channels.

    Attributes:
        pixels: `(M, C)`, the embedding with the embedding of "no mask given".
        positions: `(M, C)`.
        keys: `(1, heads, M, c)` of the first layer's attention of tokens to pixels.
        values: `(1, heads, M, c)` of the same.
        queries: `(M, heads * c)` of the first layer's attention of pixels to tokens.
        stride_8: `(M, 4, C/4)`, added to the first upscaling, its bias included.
        stride_4: `(M, 16, C/8)`, added to the second.
    """

    pixels: Tensor
    positions: Tensor
    keys: Tensor
    values: Tensor
    queries: Tensor
    stride_8: Tensor
    stride_4: Tensor


class LeanDecoder:
    """Decodes prompts on one image at a time.

    Args:
        model: A `SAM2Base` with two layers in its decoder's transformer, which all of Meta's have.
    """

    def __init__(self, model: Any) -> None:
        self._decoder = model.sam_mask_decoder
        self._transformer = self._decoder.transformer
        up_1, self._norm, self._activation, up_2, _ = self._decoder.output_upscaling
        # (in, out, 2, 2) -> (in, 4 * out): the four pixels that one becomes, row by row.
        self._up_1 = up_1.weight.permute(0, 2, 3, 1).flatten(1).contiguous()
        self._up_2 = up_2.weight.permute(0, 2, 3, 1).flatten(1).contiguous()
        self._up_1_bias, self._up_2_bias = up_1.bias, up_2.bias

    def image_side(
        self, embedding: Tensor, high_res: tuple[Tensor, Tensor], pe: Tensor, dense: Tensor
    ) -> ImageSide:
        """Compute what every prompt shares.

        Args:
            embedding: `(1, C, h, w)`.
            high_res: `(1, C/8, 4h, 4w)` and `(1, C/4, 2h, 2w)`.
            pe: `(1, C, h, w)`, positions.
            dense: `(1, C, 1, 1)` or `(1, C, h, w)`: the embedding of "no mask given".
        """
        first = self._transformer.layers[0]
        to_image, to_tokens = first.cross_attn_token_to_image, first.cross_attn_image_to_token
        pixels = (embedding + dense)[0].flatten(1).t().contiguous()
        positions = pe[0].flatten(1).t().contiguous()
        placed = pixels + positions
        fine, coarse = high_res
        _, _, height, width = embedding.shape
        # Each pixel's children together, row by row, and theirs in turn.
        stride_8 = coarse[0].reshape(-1, height, 2, width, 2).permute(1, 3, 2, 4, 0)
        stride_4 = fine[0].reshape(-1, height, 2, 2, width, 2, 2).permute(1, 4, 2, 5, 3, 6, 0)
        return ImageSide(
            pixels=pixels,
            positions=positions,
            keys=_heads(to_image.k_proj(placed)[None], to_image.num_heads),
            values=_heads(to_image.v_proj(pixels)[None], to_image.num_heads),
            queries=to_tokens.q_proj(placed),
            stride_8=(stride_8 + self._up_1_bias).reshape(height * width, 4, -1),
            stride_4=(stride_4 + self._up_2_bias).reshape(height * width, 16, -1),
        )

    def decode(
        self, side: ImageSide, sparse: Tensor, grid_hw: tuple[int, int], multimask: bool
    ) -> tuple[Tensor, Tensor]:
        """Answer prompts.

        Args:
            side: Of the image.
            sparse: `(B, T, C)`, the prompts' own tokens.
            grid_hw: Height and width of the embedding.
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
        tokens, pixels = self._transform(side, tokens)
        scores = decoder.iou_prediction_head(tokens[:, before])
        of_masks = tokens[:, before + 1 : before + 1 + decoder.num_mask_tokens]
        best_of_three = scores[:, 1:].argmax(1) + 1
        chosen = best_of_three if multimask else torch.zeros_like(best_of_three)
        rows = torch.arange(len(chosen))
        logits = self._masks(side, pixels, of_masks[rows, chosen], chosen)
        if not multimask and decoder.dynamic_multimask_via_stability:
            # As Meta's decoder does: an unstable single mask gives way to the best of three.
            stability = decoder._get_stability_scores(logits)
            rows = torch.nonzero(stability < decoder.dynamic_multimask_stability_thresh)[:, 0]
            chosen[rows] = best_of_three[rows]
            logits[rows] = self._masks(
                side, pixels[rows], of_masks[rows, chosen[rows]], chosen[rows]
            )
        height, width = grid_hw
        # Rows and columns of the grid, of each pixel's children, of their children.
        logits = logits.reshape(-1, height, width, 2, 2, 2, 2).permute(0, 1, 3, 5, 2, 4, 6)
        return logits.reshape(-1, 4 * height, 4 * width), scores.gather(1, chosen[:, None])[:, 0]

    def _transform(self, side: ImageSide, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Run both layers and the last attention; tokens `(B, T, C)`, pixels `(B, M, C)`."""
        layer, second = self._transformer.layers
        # First layer: its self-attention takes the tokens without positions, and no residual.
        queries = layer.norm1(layer.self_attn(tokens, tokens, tokens))
        attention = layer.cross_attn_token_to_image
        query = attention.q_proj(queries + tokens)
        count, length, _ = query.shape
        asked = _heads(query.reshape(1, count * length, -1), attention.num_heads)
        found = F.scaled_dot_product_attention(asked, side.keys, side.values)
        found = found.transpose(1, 2).reshape(count, length, -1)
        queries = layer.norm2(queries + attention.out_proj(found))
        queries = layer.norm3(queries + layer.mlp(queries))
        attention = layer.cross_attn_image_to_token
        keys = _spread(attention.k_proj(queries + tokens), attention.num_heads)
        logits = keys @ side.queries.t()
        pixels = layer.norm4(_answer_pixels(attention, logits, queries).add_(side.pixels))
        # Second layer.
        layer = second
        attended = queries + tokens
        queries = layer.norm1(queries + layer.self_attn(attended, attended, queries))
        placed = pixels + side.positions
        queries = layer.norm2(
            queries + _ask_pixels(layer.cross_attn_token_to_image, queries + tokens, placed, pixels)
        )
        queries = layer.norm3(queries + layer.mlp(queries))
        attention = layer.cross_attn_image_to_token
        keys = _spread(attention.k_proj(queries + tokens), attention.num_heads)
        logits = (keys @ attention.q_proj.weight) @ placed.transpose(1, 2)
        logits += (keys @ attention.q_proj.bias)[..., None]
        pixels = layer.norm4(_answer_pixels(attention, logits, queries).add_(pixels))
        # The last attention.
        last = self._transformer.final_attn_token_to_image
        torch.add(pixels, side.positions, out=placed)
        queries = queries + _ask_pixels(last, queries + tokens, placed, pixels)
        return self._transformer.norm_final_attn(queries), pixels

    def _masks(self, side: ImageSide, pixels: Tensor, tokens: Tensor, which: Tensor) -> Tensor:
        """Return one mask's logits a prompt, `(B, M, 16)`.

        Args:
            side: Of the image.
            pixels: `(B, M, C)`.
            tokens: `(B, C)`, those of the masks to make.
            which: `(B,)`, their places among the decoder's masks.
        """
        logits = pixels.new_empty(len(pixels), pixels.shape[1], 16)
        for row, index in enumerate(which.tolist()):
            weight = self._decoder.output_hypernetworks_mlps[index](tokens[row])
            self._upscale(side, pixels[row], weight, logits[row])
        return logits

    def _upscale(self, side: ImageSide, pixels: Tensor, weight: Tensor, logits: Tensor) -> None:
        """Fill in the logits `(M, 16)` of one mask: a pixel's four children, and their four each.

        Args:
            side: Of the image.
            pixels: `(M, C)`.
            weight: `(C/8,)`: how much of each channel makes the mask.
            logits: What is filled in.
        """
        norm = self._norm
        for start in range(0, len(pixels), _PIXELS):
            part = slice(start, start + _PIXELS)
            count = len(pixels[part])
            middle = (pixels[part] @ self._up_1).reshape(count, 4, -1).add_(side.stride_8[part])
            middle = F.layer_norm(middle, middle.shape[-1:], norm.weight, norm.bias, norm.eps)
            middle = self._activation(middle)
            fine = (middle.reshape(count * 4, -1) @ self._up_2).reshape(count, 16, -1)
            logits[part] = self._activation(fine.add_(side.stride_4[part])) @ weight


def _heads(x: Tensor, heads: int) -> Tensor:
    """`(B, N, heads * c)` -> `(B, heads, N, c)`."""
    count, length, width = x.shape
    return x.reshape(count, length, heads, width // heads).transpose(1, 2)


def _spread(x: Tensor, heads: int) -> Tensor:
    """`(B, T, heads * c)` -> `(B, heads * T, heads * c)`: a row a head, zero in other heads."""
    count, length, width = x.shape
    of_head = torch.arange(width) // (width // heads) == torch.arange(heads)[:, None]
    return (x[:, None] * of_head[:, None]).reshape(count, heads * length, width)


def _ask_pixels(attention: Any, query: Tensor, placed: Tensor, pixels: Tensor) -> Tensor:
    """Attention of tokens `(B, T, C)` to pixels `(B, M, C)`, of which no projection is made.

    The keys' bias adds the same to all pixels' logits, so that the softmax takes no notice of it.
    """
    heads = attention.num_heads
    count, length, _ = query.shape
    asked = _spread(attention.q_proj(query), heads)
    width = asked.shape[-1] // heads
    logits = (asked @ attention.k_proj.weight * width**-0.5) @ placed.transpose(1, 2)
    found = (logits.softmax(-1) @ pixels).reshape(count, heads, length, -1)
    weight = attention.v_proj.weight.reshape(heads, width, -1)
    values = torch.einsum("bhtc,hdc->bthd", found, weight).reshape(count, length, -1)
    answer: Tensor = attention.out_proj(values + attention.v_proj.bias)
    return answer


def _answer_pixels(attention: Any, logits: Tensor, queries: Tensor) -> Tensor:
    """The rest of the attention of pixels to tokens: `(B, heads * T, M)` logits -> `(B, M, C)`."""
    heads = attention.num_heads
    count, length, _ = queries.shape
    values = attention.v_proj(queries).reshape(count, length, heads, -1)
    width = values.shape[-1]
    shares = logits.mul_(width**-0.5).reshape(count, heads, length, -1).softmax(2)
    weight = attention.out_proj.weight.reshape(-1, heads, width)
    values = torch.einsum("bthd,chd->bhtc", values, weight).flatten(1, 2)
    answer: Tensor = shares.flatten(1, 2).transpose(1, 2) @ values
    return answer.add_(attention.out_proj.bias)
