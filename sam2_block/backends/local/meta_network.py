"""SAM 2 by Meta's own modules, for GPUs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sam2_block.backends.local.devices import Compute
from sam2_block.backends.local.prompt_tokens import PromptTokens

# Bytes that the prompts decoded together may take.
_BATCH_BYTES = 2 * 1024**3

# A prompt repeats the image's features through both transformer layers and the upscaling. This
# many times the bytes of the embedding was seen at the peak.
_PROMPT_OVER_EMBEDDING = 5

# For each token of a prompt and each pixel of the embedding: the logits of eight heads and what is
# made of them.
_TOKEN_BYTES = 8 * 4 * 3


@dataclass(frozen=True)
class MetaEmbedding:
    """What the image encoder says of one image.

    Attributes:
        image: `(1, C, h, w)`, stride 16: what the mask decoder attends to.
        high_res: `(1, C/8, 4h, 4w)` and `(1, C/4, 2h, 2w)`: added to the masks on the way up.
    """

    image: Tensor
    high_res: tuple[Tensor, Tensor]

    @property
    def nbytes(self) -> int:
        """Bytes of the tensors."""
        return sum(tensor.nbytes for tensor in (self.image, *self.high_res))

    def is_finite(self) -> bool:
        """Whether the image's features are; the finer ones come of the same tokens."""
        return bool(torch.isfinite(self.image).all())


class MetaNetwork:
    """Runs a `SAM2Base`, as Meta's `SAM2ImagePredictor` does; see `Network`.

    Args:
        model: A `SAM2Base` on the device of `compute`.
        compute: Device and precision.
    """

    def __init__(self, model: Any, compute: Compute) -> None:
        model.image_encoder.neck.position_encoding = _NoPositions()
        self._model = model
        self._compute = compute
        self.image_size = int(model.image_size)
        side = int(model.sam_image_embedding_size)
        self._pixels, self._channels = side * side, int(model.hidden_dim)
        self._prompt_tokens = PromptTokens(model.sam_prompt_encoder)
        with torch.inference_mode():
            self._positions = model.sam_prompt_encoder.get_dense_pe()
        # No mask is given: one vector for every pixel.
        self._no_mask = model.sam_prompt_encoder.no_mask_embed.weight.reshape(1, -1, 1, 1)
        if compute.device.type == "cuda":
            # What was computed here is queued on this thread's stream; other threads have others.
            torch.cuda.current_stream(compute.device).synchronize()

    def encode(self, pixels: Tensor) -> MetaEmbedding:
        """Encode an image; see `Network.encode`."""
        model = self._model
        with self._compute.autocast():
            features = model.forward_image(pixels)["backbone_fpn"][-model.num_feature_levels :]
            top = features[-1]
            if model.directly_add_no_mem_embed:
                top = top + model.no_mem_embed.reshape(1, -1, 1, 1)
        return MetaEmbedding(top, (features[0], features[1]))

    def batch_size(self, tokens: int) -> int:
        """Return how many prompts are decoded together; see `Network.batch_size`."""
        embedding = 4 * self._pixels * self._channels * 4  # stride 16, and twice as much in two
        prompt = embedding * _PROMPT_OVER_EMBEDDING + self._pixels * tokens * _TOKEN_BYTES
        return max(1, _BATCH_BYTES // prompt)

    def decode(
        self, embedding: MetaEmbedding, tokens: tuple[Tensor, Tensor], multimask_output: bool
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Answer prompts; see `Network.decode`."""
        side = int(self._model.sam_image_embedding_size)
        with self._compute.full_precision():
            # Half precision would move a prompt by up to a pixel of the encoder's square.
            sparse = self._prompt_tokens(tokens)
        with self._compute.autocast():
            masks, scores, _, _ = self._model.sam_mask_decoder(
                image_embeddings=embedding.image,
                image_pe=self._positions,
                sparse_prompt_embeddings=sparse,
                dense_prompt_embeddings=self._no_mask.expand(len(sparse), -1, side, side),
                multimask_output=multimask_output,
                repeat_image=True,
                high_res_features=list(embedding.high_res),
            )
        best = scores.argmax(dim=1)
        rows = torch.arange(len(best), device=best.device)
        logits, quality = masks[rows, best].float(), scores[rows, best].float()
        return logits.cpu().numpy(), quality.cpu().numpy()


class _NoPositions(torch.nn.Module):
    """Stands in for the position encodings, which only the memory of the video model reads.

    They would take 90 MB for good and three times that while they are made.
    """

    def forward(self, x: Tensor) -> Tensor:
        return x.new_empty(0)
