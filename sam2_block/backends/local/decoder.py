"""Decode prompts: an embedding and prompts in, one small mask of logits a prompt out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from sam2_block.backends.local.devices import Compute
from sam2_block.backends.local.encoder import Embedding
from sam2_block.backends.local.lean_decoder import ImageSide, LeanDecoder
from sam2_block.backends.local.upsample import LowResMask
from sam2_block.errors import ModelError
from sam2_block.prompts import Prompt

# Labels of the prompt encoder (`sam2/modeling/sam/prompt_encoder.py`).
_NEGATIVE, _POSITIVE, _TOP_LEFT, _BOTTOM_RIGHT = 0, 1, 2, 3

# Bytes that the prompts decoded together may take. On a CPU a few prompts fill the caches, and
# more of them only wait for memory; a GPU wants many.
_CPU_BATCH_BYTES = 192 * 1024**2
_GPU_BATCH_BYTES = 2 * 1024**3

# A prompt repeats the image's features through both transformer layers and the upscaling. This
# many times the bytes of the embedding was seen at the peak (`tools/measure_memory.py`).
_PROMPT_OVER_EMBEDDING = 5

# For each token of a prompt and each pixel of the embedding: the logits of eight heads and what is
# made of them.
_TOKEN_BYTES = 8 * 4 * 3


def decode(
    model: Any,
    compute: Compute,
    embedding: Embedding,
    prompts: Sequence[Prompt],
    image_hw: tuple[int, int],
    *,
    multimask_output: bool,
) -> list[LowResMask]:
    """Answer prompts on one image, as Meta's `SAM2ImagePredictor.predict` does one by one.

    Where SAM 2 proposes three masks, the one with the best predicted quality is taken here, at low
    resolution: the other two are never brought to the size of the image.

    Args:
        model: A `SAM2Base` on the device of `compute`.
        compute: Device and precision.
        embedding: The encoded image.
        prompts: At least one prompt.
        image_hw: Height and width of the image.
        multimask_output: Propose three masks a prompt, or one.

    Returns:
        One answer a prompt, in the order of the prompts.
    """
    answers: list[LowResMask | None] = [None] * len(prompts)
    with torch.inference_mode():
        decode_batch = _Decoder(model, compute, embedding, multimask_output)
        for batch in _batches(prompts, lambda tokens: _batch_size(embedding, compute, tokens)):
            tokens = _tokens(
                [prompts[i] for i in batch], image_hw, model.image_size, compute.device
            )
            logits, scores = decode_batch(tokens)
            if not np.isfinite(scores).all():
                raise ModelError(
                    f"SAM 2 gave a score that is not a finite number, in {compute.precision} on"
                    f" {compute.device}. Set SAM2_BLOCK_PRECISION=fp32."
                )
            for index, prompt_logits, score in zip(batch, logits, scores, strict=True):
                answers[index] = LowResMask.from_logits(prompt_logits, float(score), image_hw)
    return [answer for answer in answers if answer is not None]


def _batch_size(embedding: Embedding, compute: Compute, tokens: int) -> int:
    """Return how many prompts of so many tokens are decoded together."""
    on_cpu = compute.device.type == "cpu"
    pixels = embedding.image.shape[-2] * embedding.image.shape[-1]
    prompt_bytes = embedding.nbytes * _PROMPT_OVER_EMBEDDING + pixels * tokens * _TOKEN_BYTES
    return max(1, (_CPU_BATCH_BYTES if on_cpu else _GPU_BATCH_BYTES) // prompt_bytes)


def _batches(prompts: Sequence[Prompt], batch_size: Callable[[int], int]) -> Iterator[list[int]]:
    """Group the indices of prompts that have equally many tokens.

    Padding ragged prompts with label -1 would let them share a batch, but each padding token is
    attended to, so that a prompt's answer would depend on its neighbours.
    """
    by_length = defaultdict(list)
    for index, prompt in enumerate(prompts):
        by_length[len(prompt.points) + 2 * (prompt.box_xyxy is not None)].append(index)
    for length, indices in by_length.items():
        size = batch_size(length)
        for start in range(0, len(indices), size):
            yield indices[start : start + size]


def _tokens(
    prompts: Sequence[Prompt], image_hw: tuple[int, int], side: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return coordinates `(B, T, 2)` (x, y) on the encoder's square, and labels `(B, T)`.

    A box is two points with labels of their own, and comes before the points.
    """
    height, width = image_hw
    coordinates, labels = [], []
    for prompt in prompts:
        xy: list[tuple[float, float]] = []
        of_prompt: list[int] = []
        if prompt.box_xyxy is not None:
            left, top, right, bottom = prompt.box_xyxy
            xy += [(left, top), (right, bottom)]
            of_prompt += [_TOP_LEFT, _BOTTOM_RIGHT]
        xy += [(point.x, point.y) for point in prompt.points]
        of_prompt += [_POSITIVE if point.positive else _NEGATIVE for point in prompt.points]
        coordinates.append(xy)
        labels.append(of_prompt)
    scale = torch.tensor([width, height], dtype=torch.float32, device=device)
    points = torch.tensor(coordinates, dtype=torch.float32, device=device) / scale * side
    return points, torch.tensor(labels, dtype=torch.int32, device=device)


class _Decoder:
    """Decodes batches of prompts on one image, by Meta's decoder or the lean one."""

    def __init__(
        self, model: Any, compute: Compute, embedding: Embedding, multimask_output: bool
    ) -> None:
        self._model = model
        self._compute = compute
        self._embedding = embedding
        self._multimask_output = multimask_output
        with compute.full_precision():
            self._image_pe = model.sam_prompt_encoder.get_dense_pe()  # the same for every prompt
        self._lean: tuple[LeanDecoder, ImageSide] | None = None
        if compute.device.type == "cpu" and compute.precision == "fp32":
            lean = LeanDecoder(model)
            no_mask = model.sam_prompt_encoder.no_mask_embed.weight.reshape(1, -1, 1, 1)
            with compute.full_precision():
                side = lean.image_side(embedding.image, embedding.high_res, self._image_pe, no_mask)
            self._lean = (lean, side)

    def __call__(
        self, tokens: tuple[torch.Tensor, torch.Tensor]
    ) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Return logits `(B, s, s)` and scores `(B,)`, single precision, on the CPU."""
        with self._compute.full_precision():
            # Half precision would move a prompt by up to a pixel of the encoder's square.
            sparse, dense = self._model.sam_prompt_encoder(points=tokens, boxes=None, masks=None)
            if self._lean is not None:
                lean, side = self._lean
                _, _, height, width = self._embedding.image.shape
                masks, scores = lean.decode(side, sparse, (height, width), self._multimask_output)
                return masks.numpy(), scores.numpy()
        with self._compute.autocast():
            masks, scores, _, _ = self._model.sam_mask_decoder(
                image_embeddings=self._embedding.image,
                image_pe=self._image_pe,
                sparse_prompt_embeddings=sparse,
                dense_prompt_embeddings=dense,
                multimask_output=self._multimask_output,
                repeat_image=True,
                high_res_features=list(self._embedding.high_res),
            )
        best = scores.argmax(dim=1)
        rows = torch.arange(len(best), device=best.device)
        return (
            masks[rows, best].float().cpu().numpy(),
            scores[rows, best].float().cpu().numpy(),
        )
