"""Decode prompts: from an embedding and prompts to one low-resolution mask per prompt."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from sam2_block.backends.local.upsample import LowResMask
from sam2_block.compute.compute_pool import cores, each
from sam2_block.compute.compute_target import ComputeTarget
from sam2_block.errors import ModelError
from sam2_block.out_of_memory import may_lack_device_memory
from sam2_block.prompts import Prompt
from sam2_block.sam2.candidates import Choice, select
from sam2_block.sam2.network import Embedding, Network, PromptBatch

# Point labels of the prompt encoder (`sam2/modeling/sam/prompt_encoder.py`).
_NEGATIVE, _POSITIVE, _TOP_LEFT, _BOTTOM_RIGHT = 0, 1, 2, 3


def decode(
    network: Network,
    compute: ComputeTarget,
    embedding: Embedding,
    prompts: Sequence[Prompt],
    image_hw: tuple[int, int],
    *,
    multimask_output: bool,
) -> list[LowResMask]:
    """Predict masks for prompts on one image.

    Each prompt gets the mask that Meta's `SAM2ImagePredictor.predict` returns for it on its own.
    The candidate is selected at low resolution, so that only this one is upsampled to the image's
    size.

    Args:
        network: The model.
        compute: The model's device and precision.
        embedding: The encoded image.
        prompts: At least one prompt.
        image_hw: Height and width of the image.
        multimask_output: Select the best of three candidates for each prompt; otherwise its single
            mask.

    Returns:
        One low-resolution mask per prompt, in their order.
    """
    choice: Choice = "best" if multimask_output else "stable"
    masks: list[LowResMask | None] = [None] * len(prompts)

    def decode_batch(batch: list[int]) -> None:
        batched = _prompt_batch(
            [prompts[i] for i in batch], image_hw, network.image_size, compute.device
        )
        with compute.full_precision():
            logits, scores = _decode_batch(network, embedding, batched, choice)
        _check_finite("score", scores, compute)
        _check_finite("mask", logits, compute)
        for index, prompt_logits, score in zip(batch, logits, scores, strict=True):
            masks[index] = LowResMask.from_logits(prompt_logits, float(score), image_hw)

    with torch.inference_mode():
        jobs = []
        for batch, uses_all_cores in _batches(prompts, network.batch_size):
            if uses_all_cores:
                decode_batch(batch)
            else:
                jobs.append(batch)
        each(decode_batch, jobs)
    return [mask for mask in masks if mask is not None]


def _decode_batch(
    network: Network, embedding: Embedding, prompts: PromptBatch, choice: Choice
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Decode a batch; halve it, recursively, if the GPU has too little memory for it.

    Other work on the same GPU may leave less memory than the batch was sized for.

    Returns:
        Logits `(B, s, s)` and scores `(B,)` of each prompt's selected candidate.

    Raises:
        Exception: PyTorch's own, if there is too little memory even for a single prompt.
    """
    try:
        selected = select(network.decode(embedding, prompts), choice, network.stability)
        return selected.logits[:, 0].cpu().numpy(), selected.scores[:, 0].cpu().numpy()
    except Exception as error:
        if len(prompts) == 1 or not may_lack_device_memory(error):
            raise
    # Outside the handler, as the error's traceback keeps the tensors of the failed batch alive.
    # PyTorch's allocator caches freed memory, which cuBLAS cannot use (pytorch/pytorch#128601).
    torch.cuda.empty_cache()
    half = len(prompts) // 2
    parts = [
        _decode_batch(network, embedding, prompts[rows], choice)
        for rows in (slice(None, half), slice(half, None))
    ]
    logits, scores = zip(*parts, strict=True)
    return np.concatenate(logits), np.concatenate(scores)


def _check_finite(output: str, values: NDArray[np.float32], compute: ComputeTarget) -> None:
    if not np.isfinite(values).all():
        remedy = (
            "Its weights may be damaged: use another copy of them."
            if compute.precision == "fp32"
            else "Set SAM2_BLOCK_PRECISION=fp32."
        )
        raise ModelError(
            f"SAM 2 returned a {output} that is not a finite number, in {compute.precision} on"
            f" {compute.device}. {remedy}"
        )


def _batches(
    prompts: Sequence[Prompt], batch_size: Callable[[int], int]
) -> Iterator[tuple[list[int], bool]]:
    """Group the indices of prompts that have equally many tokens.

    Padding ragged prompts with label -1 would let them share a batch, but padding tokens are
    attended to, so that a prompt's mask would depend on the other prompts in its batch.

    Yields:
        The indices of a batch, and whether all cores should share this one batch: if there are
        fewer prompts than cores, or if a prompt has so many tokens that it fills a batch.
    """
    by_length = defaultdict(list)
    for index, prompt in enumerate(prompts):
        by_length[len(prompt.points) + 2 * (prompt.box_xyxy is not None)].append(index)
    for length, indices in by_length.items():
        size = batch_size(length)
        uses_all_cores = cores() > 1 and (size == 1 or len(prompts) < cores())
        count = -(-len(indices) // size)
        if not uses_all_cores:  # equally many batches for each core
            count = min(len(indices), -(-count // cores()) * cores())
        for batch in range(count):  # of equal size, give or take one
            start, stop = (len(indices) * edge // count for edge in (batch, batch + 1))
            yield indices[start:stop], uses_all_cores


def _prompt_batch(
    prompts: Sequence[Prompt], image_hw: tuple[int, int], side: int, device: torch.device
) -> PromptBatch:
    """Scale prompts with equally many points and corners to the encoder's square.

    A box becomes two corner points with separate labels, which precede the prompt's points.
    """
    height, width = image_hw
    coordinates, labels = [], []
    for prompt in prompts:
        prompt_xy: list[tuple[float, float]] = []
        prompt_labels: list[int] = []
        if prompt.box_xyxy is not None:
            left, top, right, bottom = prompt.box_xyxy
            prompt_xy += [(left, top), (right, bottom)]
            prompt_labels += [_TOP_LEFT, _BOTTOM_RIGHT]
        prompt_xy += [(point.x, point.y) for point in prompt.points]
        prompt_labels += [_POSITIVE if point.positive else _NEGATIVE for point in prompt.points]
        coordinates.append(prompt_xy)
        labels.append(prompt_labels)
    scale = torch.tensor([width, height], dtype=torch.float32, device=device)
    points = torch.tensor(coordinates, dtype=torch.float32, device=device) / scale * side
    return PromptBatch(points, torch.tensor(labels, dtype=torch.int32, device=device))
