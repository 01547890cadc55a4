"""The network of SAM 2 on a CPU."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from sam2_block.compute.compute_target import ComputeTarget
from sam2_block.sam2.candidates import Stability
from sam2_block.sam2.cpu.cached_image import CachedImage
from sam2_block.sam2.cpu.decoder import Decoder, LazyCandidates
from sam2_block.sam2.cpu.neck import Features, Neck
from sam2_block.sam2.cpu.trunk import Trunk
from sam2_block.sam2.memory_conditioning import MemoryConditioning
from sam2_block.sam2.network import Memory, PromptBatch
from sam2_block.sam2.prompt_encoder import PromptEncoder


class CpuNetwork:
    """The same arithmetic as Meta's modules, in blocks that stay in cache; see `Network`.

    Half precision is used only in the trunk's matrix products, nine tenths of the work for a new
    image. Neck and decoder stay in single precision: with half precision the selection between
    nearly tied candidates would change more often.

    Args:
        model: A `SAM2Base` on the CPU; the network shares its weights, in single precision.
        compute: Its precision applies to the trunk's products; all else is in single precision.
    """

    def __init__(self, model: Any, compute: ComputeTarget) -> None:
        self._compute = compute
        self.image_size = int(model.image_size)
        self.stability = Stability.of(model.sam_mask_decoder)
        self._prompt_encoder = PromptEncoder(model.sam_prompt_encoder)
        self._trunk = Trunk(model.image_encoder.trunk, self.image_size, compute.dtype)
        self._neck = Neck(model)
        self._condition = MemoryConditioning(model)
        self._decoder = Decoder(model)

    def encode(self, pixels: Tensor) -> Features:
        """Encode an image; see `Network.encode`."""
        with self._compute.full_precision():
            return self._neck(self._trunk(pixels))

    def condition(self, features: Features, memory: Memory | None = None) -> CachedImage:
        """Turn features into an embedding; see `Network.condition`."""
        with self._compute.full_precision():
            top = features.stride_16.permute(2, 0, 1)[None]
            top = self._condition(top, memory)[0].permute(1, 2, 0)
            return self._decoder.cached_image(features._replace(stride_16=top))

    def batch_size(self, tokens: int) -> int:
        """Return the maximum number of prompts in a batch; see `Network.batch_size`."""
        return self._decoder.batch_size(tokens)

    def decode(self, embedding: CachedImage, prompts: PromptBatch) -> LazyCandidates:
        """Propose masks; see `Network.decode`."""
        with self._compute.full_precision():
            masks = prompts.mask_logits
            dense = None if masks is None else self._prompt_encoder.dense(masks)
            return self._decoder.decode(embedding, self._prompt_encoder.sparse(prompts), dense)
