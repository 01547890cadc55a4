"""The mask decoder's transformer, between few tokens and many pixels.

The same arithmetic as `TwoWayTransformer` of `sam2/modeling/sam/transformer.py`, in another order:

- What tokens attend to first is the same for every prompt, and computed once an image.
- Attention projects the tokens into the pixels' space, in place of all pixels into the attention's:
  `(x Wk) q = x (Wk q)`. It moves a third of the memory.
- What a layer's pixels ask of its tokens, and what the tokens ask next of these pixels, is known
  before either is answered: one sweep over the pixels, some at a time, answers both in the caches.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - the name that every PyTorch reader expects
from torch import Tensor

from sam2_block.backends.local.compute_pool import each
from sam2_block.backends.local.lean.image_side import ImageSide
from sam2_block.backends.local.lean.linear import normed, product
from sam2_block.backends.local.lean.strips import strips

# Pixels that each thread treats at a time. With many tokens fewer threads' worth is taken, so that
# the logits of a sweep stay within their number, or within one thread's.
_PIXELS = 1024
_LOGITS = 8 * 1024**2


class Transformer:
    """Lets tokens and pixels attend to each other.

    Args:
        transformer: Meta's `TwoWayTransformer`, of two layers, as all of Meta's models have.
        positions: `(M, C)`, encodings of the pixels' positions.
    """

    def __init__(self, transformer: Any, positions: Tensor) -> None:
        self._transformer = transformer
        self._positions = positions

    def image_side(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return keys and values of `ImageSide`, of pixels `(M, C)`."""
        attention = self._transformer.layers[0].cross_attn_token_to_image
        keys = pixels.new_empty(len(pixels), attention.k_proj.out_features)
        values = pixels.new_empty(len(pixels), attention.v_proj.out_features)

        def project(part: slice) -> None:
            keys[part] = attention.k_proj(pixels[part] + self._positions[part])
            values[part] = attention.v_proj(pixels[part])

        each(project, strips(len(pixels), _PIXELS))
        heads = attention.num_heads
        return _heads(keys[None], heads), _heads(values[None], heads)

    def __call__(self, side: ImageSide, tokens: Tensor, outputs: int) -> tuple[Tensor, Tensor]:
        """Run both layers and the last attention.

        Args:
            side: Of the image.
            tokens: `(B, T, C)`.
            outputs: How many of the first tokens are to be returned.

        Returns:
            Tokens `(B, outputs, C)`, and each prompt's pixels `(B, M, C)`.
        """
        first, second = self._transformer.layers
        last = self._transformer.final_attn_token_to_image
        # The first layer's self-attention takes the tokens without positions, and no residual.
        queries = first.norm1(first.self_attn(tokens, tokens, tokens))
        found = _ask_image(first.cross_attn_token_to_image, queries + tokens, side)
        queries = first.norm2(queries + found)
        queries = first.norm3(queries + _mlp(first.mlp, queries))
        answers = _Answers.of(first, queries, tokens)
        placed = queries + tokens
        queries = second.norm1(queries + second.self_attn(placed, placed, queries))
        attention = second.cross_attn_token_to_image
        pixels = side.pixels.new_empty(len(tokens), *side.pixels.shape)
        before = side.pixels.expand_as(pixels)
        found = self._sweep(attention, queries + tokens, answers, before, pixels)
        queries = second.norm2(queries + found)
        queries = second.norm3(queries + _mlp(second.mlp, queries))
        answers = _Answers.of(second, queries, tokens)
        queries, tokens = queries[:, :outputs], tokens[:, :outputs]
        queries = queries + self._sweep(last, queries + tokens, answers, pixels, pixels)
        return self._transformer.norm_final_attn(queries), pixels

    def _sweep(
        self, attention: Any, tokens: Tensor, answers: _Answers, before: Tensor, pixels: Tensor
    ) -> Tensor:
        """Let pixels attend to a layer's tokens, and then tokens to the pixels.

        Args:
            attention: Of tokens to pixels.
            tokens: `(B, T, C)`, what asks the pixels.
            answers: What the pixels are answered.
            before: `(B, M, C)`.
            pixels: `(B, M, C)`, filled in with what `before` becomes.

        Returns:
            What the tokens found, `(B, T, C)`.
        """
        asked = _asked(attention, tokens)
        limit = max(_PIXELS, _LOGITS // answers.keys.shape[1])
        parts = strips(before.shape[1], _PIXELS, limit=limit)
        found = []
        logits = before.new_empty(asked.shape[1], before.shape[1])
        for row, (old, new) in enumerate(zip(before, pixels, strict=True)):

            def attend(part: slice, row: int = row, old: Tensor = old, new: Tensor = new) -> None:
                new[part] = answers.to(row, old[part], old[part] + self._positions[part])
                logits[:, part] = product(asked[row], new[part] + self._positions[part])

            each(attend, parts)
            found.append(product(logits.softmax(-1), new.t()))
        return _told(attention, torch.stack(found))


class _Answers(NamedTuple):
    """What the pixels of some prompts are told by their tokens, a row for each head and token.

    Attributes:
        layer: Of the transformer.
        keys: `(B, heads * T, C)`.
        biases: `(B, heads * T, 1)`, of the logits.
        values: `(B, heads * T, C)`, the projection behind them.
    """

    layer: Any
    keys: Tensor
    biases: Tensor
    values: Tensor

    @classmethod
    def of(cls, layer: Any, queries: Tensor, positions: Tensor) -> _Answers:
        """Prepare the tokens `(B, T, C)` of a layer, after its MLP."""
        attention = layer.cross_attn_image_to_token
        heads = attention.num_heads
        keys = attention.k_proj(queries + positions)
        keys = _spread(keys * (keys.shape[-1] // heads) ** -0.5, heads)
        count, length, _ = queries.shape
        values = attention.v_proj(queries).reshape(count, length, heads, -1)
        weight = attention.out_proj.weight.reshape(-1, heads, values.shape[-1])
        projected = torch.einsum("bthd,chd->bhtc", values, weight).flatten(1, 2)
        return cls(
            layer=layer,
            keys=keys @ attention.q_proj.weight,
            biases=(keys @ attention.q_proj.bias)[..., None],
            # The shares of a head's tokens sum to 1, so the bias can be spread over the heads.
            values=projected + attention.out_proj.bias / heads,
        )

    def to(self, row: int, pixels: Tensor, placed: Tensor) -> Tensor:
        """Return what pixels `(m, C)` of one prompt become, the norm behind their attention too."""
        heads = self.layer.cross_attn_image_to_token.num_heads
        logits = product(self.keys[row], placed).add_(self.biases[row])
        shares = logits.reshape(heads, -1, len(pixels)).softmax(1).flatten(0, 1)
        return normed(product(shares.t(), self.values[row].t()).add_(pixels), self.layer.norm4)


def _mlp(mlp: Any, x: Tensor) -> Tensor:
    """Apply Meta's MLP of two layers, and a ReLU between them."""
    inner, outer = mlp.layers
    return product(product(x, inner.weight, inner.bias).relu_(), outer.weight, outer.bias)


def _heads(x: Tensor, heads: int) -> Tensor:
    """`(B, N, heads * c)` -> `(B, heads, N, c)`."""
    count, length, width = x.shape
    return x.reshape(count, length, heads, width // heads).transpose(1, 2)


def _spread(x: Tensor, heads: int) -> Tensor:
    """`(B, T, heads * c)` -> `(B, heads * T, heads * c)`: a row a head, zero in other heads."""
    count, length, width = x.shape
    channels = torch.arange(width, device=x.device)
    of_head = channels // (width // heads) == torch.arange(heads, device=x.device)[:, None]
    return (x[:, None] * of_head[:, None]).reshape(count, heads * length, width)


def _ask_image(attention: Any, tokens: Tensor, side: ImageSide) -> Tensor:
    """Attention of tokens `(B, T, C)` to what is the same for every prompt."""
    count, length, _ = tokens.shape
    query = attention.q_proj(tokens)
    asked = _heads(query.reshape(1, count * length, -1), attention.num_heads)
    found = F.scaled_dot_product_attention(asked, side.keys, side.values)
    answer: Tensor = attention.out_proj(found.transpose(1, 2).reshape(count, length, -1))
    return answer


def _asked(attention: Any, tokens: Tensor) -> Tensor:
    """What tokens `(B, T, C)` look for in pixels, `(B, heads * T, C)`.

    The keys' bias adds the same to all pixels' logits, so that the softmax takes no notice of it.
    """
    query = attention.q_proj(tokens)
    heads = attention.num_heads
    spread = _spread(query * (query.shape[-1] // heads) ** -0.5, heads)
    asked: Tensor = spread @ attention.k_proj.weight
    return asked


def _told(attention: Any, found: Tensor) -> Tensor:
    """What tokens make of the pixels that they found, `(B, heads * T, C)` -> `(B, T, C)`."""
    heads = attention.num_heads
    count, _, channels = found.shape
    found = found.reshape(count, heads, -1, channels)
    weight = attention.v_proj.weight.reshape(heads, -1, channels)
    values = torch.einsum("bhtc,hdc->bthd", found, weight).flatten(2)
    answer: Tensor = attention.out_proj(values + attention.v_proj.bias)
    return answer
