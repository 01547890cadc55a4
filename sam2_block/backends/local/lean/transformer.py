"""The mask decoder's transformer, between few tokens and many pixels.

The same arithmetic as `TwoWayTransformer` of `sam2/modeling/sam/transformer.py`, in another order:

- The image's side of the first attention is the same for every prompt, and computed once.
- Attention projects the tokens into the pixels' space, in place of all pixels into the attention's:
  `(x Wk) q = x (Wk q)`. It moves a third of the memory.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the name that every PyTorch reader expects
from torch import Tensor

from sam2_block.backends.local.lean.image_side import ImageSide
from sam2_block.backends.local.lean.linear import normed, product


class Transformer:
    """Lets tokens and pixels attend to each other.

    Args:
        transformer: Meta's `TwoWayTransformer`, of two layers, as all of Meta's models have.
        positions: `(M, C)`, encodings of the pixels' positions.
    """

    def __init__(self, transformer: Any, positions: Tensor) -> None:
        self._transformer = transformer
        self._positions = positions

    def image_side(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return keys, values and queries of `ImageSide`, of pixels `(M, C)`."""
        first = self._transformer.layers[0]
        to_image, to_tokens = first.cross_attn_token_to_image, first.cross_attn_image_to_token
        placed = pixels + self._positions
        return (
            _heads(to_image.k_proj(placed)[None], to_image.num_heads),
            _heads(to_image.v_proj(pixels)[None], to_image.num_heads),
            to_tokens.q_proj(placed),
        )

    def __call__(
        self, side: ImageSide, tokens: Tensor, outputs: int
    ) -> tuple[Tensor, list[Tensor]]:
        """Run both layers and the last attention.

        Args:
            side: Of the image.
            tokens: `(B, T, C)`.
            outputs: How many of the first tokens are to be returned.

        Returns:
            Tokens `(B, outputs, C)`, and pixels `(M, C)` of each prompt.
        """
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
        # From here on there is a set of pixels a prompt. What is small is computed for all prompts
        # together, what is large for one after the other, so that it stays in the caches.
        attention = layer.cross_attn_image_to_token
        keys, values = _keys(attention, queries + tokens), _values(attention, queries)
        pixels = [
            _after_attention(side.pixels, layer, product(keys[row], side.queries), values[row])
            for row in range(count)
        ]
        placed = [of_prompt + self._positions for of_prompt in pixels]
        # Second layer.
        layer = second
        attended = queries + tokens
        queries = layer.norm1(queries + layer.self_attn(attended, attended, queries))
        attention = layer.cross_attn_token_to_image
        queries = layer.norm2(queries + _ask(attention, queries + tokens, placed, pixels))
        queries = layer.norm3(queries + layer.mlp(queries))
        attention = layer.cross_attn_image_to_token
        keys, values = _keys(attention, queries + tokens), _values(attention, queries)
        bias = (keys @ attention.q_proj.bias)[..., None]
        keys = keys @ attention.q_proj.weight
        for row in range(count):
            logits = product(keys[row], placed[row]).add_(bias[row])
            pixels[row] = _after_attention(pixels[row], layer, logits, values[row])
            torch.add(pixels[row], self._positions, out=placed[row])
        # The last attention.
        last = self._transformer.final_attn_token_to_image
        queries, tokens = queries[:, :outputs], tokens[:, :outputs]
        queries = queries + _ask(last, queries + tokens, placed, pixels)
        return self._transformer.norm_final_attn(queries), pixels


def _heads(x: Tensor, heads: int) -> Tensor:
    """`(B, N, heads * c)` -> `(B, heads, N, c)`."""
    count, length, width = x.shape
    return x.reshape(count, length, heads, width // heads).transpose(1, 2)


def _spread(x: Tensor, heads: int) -> Tensor:
    """`(B, T, heads * c)` -> `(B, heads * T, heads * c)`: a row a head, zero in other heads."""
    count, length, width = x.shape
    of_head = torch.arange(width) // (width // heads) == torch.arange(heads)[:, None]
    return (x[:, None] * of_head[:, None]).reshape(count, heads * length, width)


def _keys(attention: Any, tokens: Tensor) -> Tensor:
    """The tokens' side of an attention of pixels to them: `(B, heads * T, heads * c)`, scaled."""
    keys = attention.k_proj(tokens)
    heads = attention.num_heads
    return _spread(keys * (keys.shape[-1] // heads) ** -0.5, heads)


def _values(attention: Any, tokens: Tensor) -> Tensor:
    """What a pixel takes from each token and head, `(B, heads * T, C)`, the projection behind it.

    The shares of a head's tokens sum to 1, so that the projection's bias can be spread over heads.
    """
    heads = attention.num_heads
    count, length, _ = tokens.shape
    values = attention.v_proj(tokens).reshape(count, length, heads, -1)
    weight = attention.out_proj.weight.reshape(-1, heads, values.shape[-1])
    projected: Tensor = torch.einsum("bthd,chd->bhtc", values, weight).flatten(1, 2)
    return projected.add_(attention.out_proj.bias / heads)


def _ask(attention: Any, tokens: Tensor, placed: list[Tensor], pixels: list[Tensor]) -> Tensor:
    """Attention of tokens `(B, T, C)` to `B` times `(M, C)`, of which no projection is made.

    The keys' bias adds the same to all pixels' logits, so that the softmax takes no notice of it.
    """
    heads = attention.num_heads
    count, length, _ = tokens.shape
    query = attention.q_proj(tokens)
    width = query.shape[-1] // heads
    asked = _spread(query * width**-0.5, heads) @ attention.k_proj.weight
    shares = [product(asked[row], placed[row]).softmax(-1) for row in range(count)]
    found = torch.stack([product(shares[row], pixels[row].t()) for row in range(count)])
    found = found.reshape(count, heads, length, -1)
    weight = attention.v_proj.weight.reshape(heads, width, -1)
    values = torch.einsum("bhtc,hdc->bthd", found, weight).reshape(count, length, -1)
    answer: Tensor = attention.out_proj(values + attention.v_proj.bias)
    return answer


def _after_attention(pixels: Tensor, layer: Any, logits: Tensor, values: Tensor) -> Tensor:
    """Return pixels `(M, C)` after they attended to tokens.

    Args:
        pixels: `(M, C)`.
        layer: Of the transformer.
        logits: `(heads * T, M)`.
        values: `(heads * T, C)`.
    """
    heads = layer.cross_attn_image_to_token.num_heads
    shares = logits.reshape(heads, -1, len(pixels)).softmax(1).flatten(0, 1)
    return normed(product(shares.t(), values.t()).add_(pixels), layer.norm4)
