"""Decode prompts: an embedding and prompts in, one small mask of logits a prompt out."""

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

# Labels of the prompt encoder (`sam2/modeling/sam/prompt_encoder.py`).
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
    """Predict masks for prompts on one image, as Meta's `SAM2ImagePredictor.predict` does singly.

    The candidate is selected at low resolution, so that no other is brought to the image's size.

    Args:
        network: What computes.
        compute: The device and the precision that it computes in.
        embedding: The encoded image.
        prompts: At least one prompt.
        image_hw: Height and width of the image.
        multimask_output: Take the best of three candidates of a prompt, or its single mask.

    Returns:
        One low-resolution mask a prompt, in their order.
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
        for batch, is_alone in _batches(prompts, network.batch_size):
            if is_alone:
                decode_batch(batch)
            else:
                jobs.append(batch)
        each(decode_batch, jobs)
    return [mask for mask in masks if mask is not None]


def _decode_batch(
    network: Network, embedding: Embedding, prompts: PromptBatch, choice: Choice
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Decode a batch; if a GPU has too little memory for it, in halves, and halves of those.

    Other work on the same GPU may leave less memory than the batch was made for.

    Returns:
        Logits `(B, s, s)` and score `(B,)` of the candidate of each prompt that was taken.

    Raises:
        Exception: PyTorch's own, where not even one prompt can be decoded.
    """
    try:
        taken = select(network.decode(embedding, prompts), choice, network.stability)
        return taken.logits[:, 0].cpu().numpy(), taken.scores[:, 0].cpu().numpy()
    except Exception as error:
        if len(prompts) == 1 or not may_lack_device_memory(error):
            raise
    # Outside of the handler: the error's traceback keeps the tensors of the failed batch alive.
    # What PyTorch has freed it keeps, and cuBLAS cannot take it (pytorch/pytorch#128601).
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
            f"SAM 2 gave a {output} that is not a finite number, in {compute.precision} on"
            f" {compute.device}. {remedy}"
        )


def _batches(
    prompts: Sequence[Prompt], batch_size: Callable[[int], int]
) -> Iterator[tuple[list[int], bool]]:
    """Group the indices of prompts that have equally many tokens.

    Padding ragged prompts with label -1 would let them share a batch, but each padding token is
    attended to, so that a prompt's mask would depend on its neighbours.

    Yields:
        Indices, and whether all cores should work on this batch alone: where there are fewer
        prompts than cores, and where a prompt's many tokens take as much memory as a batch may.
    """
    by_length = defaultdict(list)
    for index, prompt in enumerate(prompts):
        by_length[len(prompt.points) + 2 * (prompt.box_xyxy is not None)].append(index)
    for length, indices in by_length.items():
        size = batch_size(length)
        is_alone = cores() > 1 and (size == 1 or len(prompts) < cores())
        batches = -(-len(indices) // size)
        if not is_alone:  # as many for each core
            batches = min(len(indices), -(-batches // cores()) * cores())
        for batch in range(batches):  # as large as each other
            start, stop = (len(indices) * edge // batches for edge in (batch, batch + 1))
            yield indices[start:stop], is_alone


def _prompt_batch(
    prompts: Sequence[Prompt], image_hw: tuple[int, int], side: int, device: torch.device
) -> PromptBatch:
    """Return prompts of equally many points and corners on the encoder's square.

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
    return PromptBatch(points, torch.tensor(labels, dtype=torch.int32, device=device))
