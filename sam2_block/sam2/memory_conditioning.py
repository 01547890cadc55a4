"""Memory conditioning of an image's features, the step between encoding and decoding."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from sam2_block.sam2.network import Memory


class MemoryConditioning:
    """Adds the "no memory" embedding to features, or applies memory attention.

    The same as `_prepare_memory_conditioned_features` of `sam2/modeling/sam2_base.py`, and computed
    by Meta's modules.

    Args:
        model: Meta's `SAM2Base`, its weights loaded.
    """

    def __init__(self, model: Any) -> None:
        self._attention = model.memory_attention
        self._position_encoding = model.image_encoder.neck.position_encoding
        self._no_memory = (
            model.no_mem_embed.reshape(1, -1, 1, 1) if model.directly_add_no_mem_embed else None
        )

    def __call__(self, features: Tensor, memory: Memory | None) -> Tensor:
        """Return conditioned features of stride 16, `(1, C, h, w)`; the input is not modified."""
        if memory is None:
            return features if self._no_memory is None else features + self._no_memory
        attended: Tensor = self._attention(
            curr=_tokens_first(features),
            curr_pos=_tokens_first(self._position_encoding(features)),
            memory=memory.tokens,
            memory_pos=memory.positions,
            num_obj_ptr_tokens=memory.pointer_tokens,
        )
        return attended.permute(1, 2, 0).reshape(features.shape)


def _tokens_first(x: Tensor) -> Tensor:
    """`(1, C, h, w)` -> `(h * w, 1, C)`."""
    return x.flatten(2).permute(2, 0, 1)
