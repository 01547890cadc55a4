"""SAM 2's two passes on a CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sam2_block.backends.local.devices import Compute
from sam2_block.backends.local.lean.decoder import Decoder
from sam2_block.backends.local.lean.image_side import ImageSide
from sam2_block.backends.local.lean.neck import Neck
from sam2_block.backends.local.lean.trunk import Trunk
from sam2_block.backends.local.prompt_tokens import PromptTokens


class LeanNetwork:
    """Computes what Meta's modules do, without waiting for memory; see `Network`.

    Half precision reaches the trunk's products only, which are nine tenths of a new image's work.
    Behind them it would take another of three masks for the best wherever two are nearly as good.

    Args:
        model: A `SAM2Base` on the CPU; it shares its weights, in single precision.
        compute: Its precision is that of the trunk's products; all else is single.
    """

    def __init__(self, model: Any, compute: Compute) -> None:
        self._compute = compute
        self.image_size = int(model.image_size)
        self._prompt_tokens = PromptTokens(model.sam_prompt_encoder)
        self._trunk = Trunk(model.image_encoder.trunk, self.image_size, compute.dtype)
        self._neck = Neck(model)
        self._decoder = Decoder(model)

    def encode(self, pixels: Tensor) -> ImageSide:
        """Encode an image; see `Network.encode`."""
        with self._compute.full_precision():
            return self._decoder.image_side(self._neck(self._trunk(pixels)))

    def batch_size(self, tokens: int) -> int:
        """Return how many prompts are decoded together; see `Network.batch_size`."""
        return self._decoder.batch_size(tokens)

    def decode(
        self, embedding: ImageSide, tokens: tuple[Tensor, Tensor], multimask_output: bool
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Answer prompts; see `Network.decode`."""
        with self._compute.full_precision():
            sparse = self._prompt_tokens(tokens)
            logits, scores = self._decoder.decode(embedding, sparse, multimask_output)
        return logits.numpy(), scores.numpy()
