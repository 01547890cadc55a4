"""The network of SAM 2 on Meta's own modules, for GPUs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sam2_block.compute.compute_target import ComputeTarget
from sam2_block.sam2.candidates import Stability
from sam2_block.sam2.memory_conditioning import MemoryConditioning
from sam2_block.sam2.network import Memory, PromptBatch
from sam2_block.sam2.prompt_encoder import PromptEncoder

# Maximum memory of one batch of prompts, in bytes.
_BATCH_BYTES = 2 * 1024**3

# Peak memory of one prompt, as a multiple of the embedding's (measured): each prompt repeats the
# image's features in both transformer layers and in the upscaling.
_EMBEDDINGS_PER_PROMPT = 5

# Bytes for each token of a prompt and each pixel of the embedding: the logits of eight heads in
# float32, and two more tensors computed from them.
_TOKEN_BYTES = 8 * 4 * 3


@dataclass(frozen=True)
class ModulesEmbedding:
    """One encoded image. `Sam2Modules.encode` returns its raw features in the same form.

    Attributes:
        image: `(1, C, h, w)`, stride 16: the image embedding of the mask decoder.
        high_res: `(1, C/8, 4h, 4w)` and `(1, C/4, 2h, 2w)`: added during mask upscaling.
    """

    image: Tensor
    high_res: tuple[Tensor, Tensor]

    @property
    def nbytes(self) -> int:
        """Size of the tensors in bytes."""
        return sum(tensor.nbytes for tensor in (self.image, *self.high_res))

    def is_finite(self) -> bool:
        """Return whether `image` is finite; `high_res` is computed from the same tokens."""
        return bool(torch.isfinite(self.image).all())


class Sam2Modules:
    """Runs a `SAM2Base`, as Meta's `SAM2ImagePredictor` does; see `Network`.

    Args:
        model: A `SAM2Base` on the device of `compute`.
        compute: Device and precision.
    """

    def __init__(self, model: Any, compute: ComputeTarget) -> None:
        self._condition = MemoryConditioning(model)
        model.image_encoder.neck.position_encoding = _NoPositions()
        self._model = model
        self._compute = compute
        self.image_size = int(model.image_size)
        side = int(model.sam_image_embedding_size)
        self._pixels, self._channels = side * side, int(model.hidden_dim)
        self.stability = Stability.of(model.sam_mask_decoder)
        self._prompt_encoder = PromptEncoder(model.sam_prompt_encoder)
        with torch.inference_mode():
            self._positions = model.sam_prompt_encoder.get_dense_pe()
        # Dense embedding of a prompt without a mask: one vector for every pixel.
        self._no_mask = model.sam_prompt_encoder.no_mask_embed.weight.reshape(1, -1, 1, 1)
        if compute.device.type == "cuda":
            # Wait for the constants on this thread's stream: other threads use other streams.
            torch.cuda.current_stream(compute.device).synchronize()

    def encode(self, pixels: Tensor) -> ModulesEmbedding:
        """Encode an image; see `Network.encode`."""
        model = self._model
        with self._compute.autocast():
            fine, middle, top = model.forward_image(pixels)["backbone_fpn"][-3:]
        return ModulesEmbedding(top, (fine, middle))

    def condition(
        self, features: ModulesEmbedding, memory: Memory | None = None
    ) -> ModulesEmbedding:
        """Turn features into an embedding; see `Network.condition`."""
        with self._compute.autocast():
            return ModulesEmbedding(self._condition(features.image, memory), features.high_res)

    def batch_size(self, tokens: int) -> int:
        """Return the maximum number of prompts in a batch; see `Network.batch_size`."""
        # In float32: one share of pixels * channels at stride 16, one at stride 8, two at stride 4.
        embedding_bytes = 4 * self._pixels * self._channels * 4
        prompt_bytes = embedding_bytes * _EMBEDDINGS_PER_PROMPT
        prompt_bytes += self._pixels * tokens * _TOKEN_BYTES
        return max(1, _BATCH_BYTES // prompt_bytes)

    def decode(self, embedding: ModulesEmbedding, prompts: PromptBatch) -> ModulesCandidates:
        """Propose masks; see `Network.decode`."""
        side = int(self._model.sam_image_embedding_size)
        with self._compute.full_precision():
            # Half precision would move a prompt by up to a pixel of the encoder's square.
            sparse = self._prompt_encoder.sparse(prompts)
            dense = self._no_mask.expand(len(sparse), -1, side, side)
            if prompts.mask_logits is not None:
                dense = self._prompt_encoder.dense(prompts.mask_logits)
        with self._compute.autocast():
            masks, scores, _, _ = self._model.sam_mask_decoder.predict_masks(
                image_embeddings=embedding.image,
                image_pe=self._positions,
                sparse_prompt_embeddings=sparse,
                dense_prompt_embeddings=dense,
                repeat_image=True,
                high_res_features=list(embedding.high_res),
            )
        return ModulesCandidates(scores.float(), masks)


@dataclass(frozen=True)
class ModulesCandidates:
    """Candidates whose masks are all computed; see `Candidates`.

    Attributes:
        scores: `(B, 4)` float32.
        masks: `(B, 4, s, s)`.
    """

    scores: Tensor
    masks: Tensor

    def logits(self, indices: Tensor, rows: Tensor | None = None) -> Tensor:
        """Return the logits of selected candidates; see `Candidates.logits`."""
        if rows is None:
            rows = torch.arange(len(indices), device=indices.device)
        return self.masks[rows[:, None], indices].float()


class _NoPositions(torch.nn.Module):
    """Replaces the neck's position encoding, which only memory attention uses.

    The encodings would take 90 MB permanently, and three times that while they are computed.
    """

    def forward(self, x: Tensor) -> Tensor:
        return x.new_empty(0)
