"""The mask decoder's transformer, between few tokens and many pixels.

The same arithmetic as `TwoWayTransformer` of `sam2/modeling/sam/transformer.py`, in another order:

- Keys and values of the first token-to-image attention are the same for every prompt; they are
  computed once per image.
- Projections of keys and values are folded into the few tokens, instead of being applied to all
  pixels: `q (x Wk) = (q Wk^T) x`. This moves a third of the memory.
- Image-to-token attention and the token-to-image attention after it read the same pixels. Both run
  in one blocked pass, whose blocks stay in a core's cache.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - the name that every PyTorch reader expects
from torch import Tensor

from sam2_block.compute.compute_pool import each
from sam2_block.sam2.cpu.cached_image import CachedImage
from sam2_block.sam2.cpu.linear import layer_norm, product
from sam2_block.sam2.cpu.strips import strips

# Pixels per block. With several threads a job covers more pixels, as long as its logits (one per
# pixel, head and token) stay within the maximum.
_PIXELS = 1024
_MAX_LOGITS = 8 * 1024**2


class Transformer:
    """Two layers of attention in both directions, and a final token-to-image attention.

    Args:
        transformer: Meta's `TwoWayTransformer`, with two layers, as in all of Meta's models.
        positions: `(M, C)`, position encodings of the pixels.
    """

    def __init__(self, transformer: Any, positions: Tensor) -> None:
        self._transformer = transformer
        self._positions = positions

    def keys_and_values(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return keys and values of the first token-to-image attention for pixels `(M, C)`."""
        attention = self._transformer.layers[0].cross_attn_token_to_image
        keys = pixels.new_empty(len(pixels), attention.k_proj.out_features)
        values = pixels.new_empty(len(pixels), attention.v_proj.out_features)

        def project(block: slice) -> None:
            keys[block] = attention.k_proj(pixels[block] + self._positions[block])
            values[block] = attention.v_proj(pixels[block])

        each(project, strips(len(pixels), _PIXELS))
        heads = attention.num_heads
        return _separate_heads(keys[None], heads), _separate_heads(values[None], heads)

    def __call__(self, image: CachedImage, tokens: Tensor, outputs: int) -> tuple[Tensor, Tensor]:
        """Run both layers and the final attention.

        Args:
            image: The encoded image.
            tokens: `(B, T, C)`, output tokens and encoded prompts. Later
                attentions add them to queries and keys, as position encodings.
            outputs: Number of output tokens, which are the first.

        Returns:
            Tokens `(B, outputs, C)`, and each prompt's pixels `(B, M, C)`.
        """
        first, second = self._transformer.layers
        final = self._transformer.final_attn_token_to_image
        # Layer 1: self-attention, without positions and residual
        queries = first.norm1(first.self_attn(tokens, tokens, tokens))
        # Layer 1: token-to-image attention
        attended = _attend_to_image(first.cross_attn_token_to_image, queries + tokens, image)
        queries = first.norm2(queries + attended)
        # Layer 1: MLP
        queries = first.norm3(queries + _mlp(first.mlp, queries))
        image_to_tokens = _ImageToTokenAttention.of(first, queries, tokens)
        # Layer 2: self-attention
        query = queries + tokens
        queries = second.norm1(queries + second.self_attn(query, query, queries))
        # Layer 1: image-to-token attention. Layer 2: token-to-image attention
        attention = second.cross_attn_token_to_image
        pixels = image.pixels.new_empty(len(tokens), *image.pixels.shape)
        image_pixels = image.pixels.expand_as(pixels)
        attended = self._attend_both_ways(
            image_to_tokens, attention, queries + tokens, image_pixels, pixels
        )
        queries = second.norm2(queries + attended)
        # Layer 2: MLP
        queries = second.norm3(queries + _mlp(second.mlp, queries))
        image_to_tokens = _ImageToTokenAttention.of(second, queries, tokens)
        # Layer 2: image-to-token attention. Final token-to-image attention
        queries, tokens = queries[:, :outputs], tokens[:, :outputs]
        queries = queries + self._attend_both_ways(
            image_to_tokens, final, queries + tokens, pixels, pixels
        )
        return self._transformer.norm_final_attn(queries), pixels

    def _attend_both_ways(
        self,
        image_to_tokens: _ImageToTokenAttention,
        attention: Any,
        queries: Tensor,
        pixels: Tensor,
        out: Tensor,
    ) -> Tensor:
        """Apply image-to-token and then token-to-image attention in one blocked pass.

        Args:
            image_to_tokens: The image-to-token attention.
            attention: Meta's module of the token-to-image attention.
            queries: `(B, T, C)`, the queries of the token-to-image attention, not projected.
            pixels: `(B, M, C)`, pixels before the image-to-token attention.
            out: `(B, M, C)`, receives the pixels after it; may be `pixels`.

        Returns:
            The output of the token-to-image attention, `(B, T, C)`.
        """
        folded = _fold_keys(attention, queries)
        limit = max(_PIXELS, _MAX_LOGITS // image_to_tokens.keys.shape[1])
        blocks = strips(pixels.shape[1], _PIXELS, limit=limit)
        attended = []
        logits = pixels.new_empty(folded.shape[1], pixels.shape[1])
        for row, (old, new) in enumerate(zip(pixels, out, strict=True)):

            def attend(block: slice, row: int = row, old: Tensor = old, new: Tensor = new) -> None:
                positions = self._positions[block]
                new[block] = image_to_tokens.apply(row, old[block], old[block] + positions)
                logits[:, block] = product(folded[row], new[block] + positions)

            each(attend, blocks)
            attended.append(product(logits.softmax(-1), new.t()))
        return _project_values(attention, torch.stack(attended))


class _ImageToTokenAttention(NamedTuple):
    """A layer's image-to-token attention for a batch of prompts, with projections folded in.

    Attributes:
        layer: Meta's module.
        keys: `(B, heads * T, C)`, with `q_proj` folded in.
        biases: `(B, heads * T, 1)`, added to the logits.
        values: `(B, heads * T, C)`, with `out_proj` applied.
    """

    layer: Any
    keys: Tensor
    biases: Tensor
    values: Tensor

    @classmethod
    def of(cls, layer: Any, queries: Tensor, positions: Tensor) -> _ImageToTokenAttention:
        """Project the tokens `(B, T, C)` after the layer's MLP to keys, biases and values."""
        attention = layer.cross_attn_image_to_token
        heads = attention.num_heads
        keys = attention.k_proj(queries + positions)
        keys = _spread_heads(keys * (keys.shape[-1] // heads) ** -0.5, heads)
        count, length, _ = queries.shape
        values = attention.v_proj(queries).reshape(count, length, heads, -1)
        weight = attention.out_proj.weight.reshape(-1, heads, values.shape[-1])
        projected = torch.einsum("bthd,chd->bhtc", values, weight).flatten(1, 2)
        return cls(
            layer=layer,
            keys=keys @ attention.q_proj.weight,
            biases=(keys @ attention.q_proj.bias)[..., None],
            # A head's attention weights sum to 1, so each head can add its share of the bias.
            values=projected + attention.out_proj.bias / heads,
        )

    def apply(self, row: int, pixels: Tensor, queries: Tensor) -> Tensor:
        """Apply attention, residual and norm to pixels `(m, C)` of one prompt.

        Args:
            row: Index of the prompt.
            pixels: `(m, C)`.
            queries: `(m, C)`, the pixels with their positions.
        """
        heads = self.layer.cross_attn_image_to_token.num_heads
        logits = product(self.keys[row], queries).add_(self.biases[row])
        weights = logits.reshape(heads, -1, len(pixels)).softmax(1).flatten(0, 1)
        return layer_norm(product(weights.t(), self.values[row].t()).add_(pixels), self.layer.norm4)


def _mlp(mlp: Any, x: Tensor) -> Tensor:
    """Apply Meta's MLP: two linear layers with a ReLU between them."""
    inner, outer = mlp.layers
    return product(product(x, inner.weight, inner.bias).relu_(), outer.weight, outer.bias)


def _separate_heads(x: Tensor, heads: int) -> Tensor:
    """`(B, N, heads * c)` -> `(B, heads, N, c)`."""
    count, length, width = x.shape
    return x.reshape(count, length, heads, width // heads).transpose(1, 2)


def _spread_heads(x: Tensor, heads: int) -> Tensor:
    """`(B, T, heads * c)` -> `(B, heads * T, heads * c)`: a row per head, zero in other heads."""
    count, length, width = x.shape
    channels = torch.arange(width, device=x.device)
    head_mask = channels // (width // heads) == torch.arange(heads, device=x.device)[:, None]
    return (x[:, None] * head_mask[:, None]).reshape(count, heads * length, width)


def _attend_to_image(attention: Any, tokens: Tensor, image: CachedImage) -> Tensor:
    """Apply token-to-image attention to tokens `(B, T, C)`, with the cached keys and values."""
    count, length, _ = tokens.shape
    queries = attention.q_proj(tokens)
    queries = _separate_heads(queries.reshape(1, count * length, -1), attention.num_heads)
    attended = F.scaled_dot_product_attention(queries, image.keys, image.values)
    output: Tensor = attention.out_proj(attended.transpose(1, 2).reshape(count, length, -1))
    return output


def _fold_keys(attention: Any, tokens: Tensor) -> Tensor:
    """Fold `k_proj` into the queries: `logits = folded @ pixels.T`.

    The bias of `k_proj` adds a constant to all logits of a query, which cancels in the softmax.

    Args:
        attention: Meta's module.
        tokens: `(B, T, C)`.

    Returns:
        `(B, heads * T, C)`.
    """
    queries = attention.q_proj(tokens)
    heads = attention.num_heads
    queries = _spread_heads(queries * (queries.shape[-1] // heads) ** -0.5, heads)
    folded: Tensor = queries @ attention.k_proj.weight
    return folded


def _project_values(attention: Any, attended: Tensor) -> Tensor:
    """Apply `v_proj` and `out_proj` to attended pixels, `(B, heads * T, C)` -> `(B, T, C)`."""
    heads = attention.num_heads
    count, _, channels = attended.shape
    attended = attended.reshape(count, heads, -1, channels)
    weight = attention.v_proj.weight.reshape(heads, -1, channels)
    values = torch.einsum("bhtc,hdc->bthd", attended, weight).flatten(2)
    output: Tensor = attention.out_proj(values + attention.v_proj.bias)
    return output
