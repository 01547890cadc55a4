"""From an image, boxes and points to detections with masks: the whole step, without the engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import supervision as sv
from numpy.typing import NDArray

from sam2_block.backends.base import Backend, MaskPrediction
from sam2_block.columns import SAM2_SCORE
from sam2_block.detections import prompt_rows, read_rows, rows_of_classes
from sam2_block.images import Image, as_image
from sam2_block.mask_arrays import MaskArray
from sam2_block.masks import EMPTY_MASK
from sam2_block.out_of_memory import naming_mask_memory_errors
from sam2_block.prompt_limits import PromptLimits
from sam2_block.prompts import Prompt, clipped_box, prompts_from_boxes, prompts_from_points
from sam2_block.segment_options import ConfidenceSource, SegmentOptions
from sam2_block.settings import DEFAULT_DENSE_MASK_BYTES, MaskForm
from sam2_block.shares import warn_of_shares

DEFAULT_LIMITS = PromptLimits()


@naming_mask_memory_errors()
def segment_image(
    backend: Backend,
    image: Any,
    detections: sv.Detections | None,
    points: Any,
    options: SegmentOptions,
    *,
    dense_mask_bytes: int = DEFAULT_DENSE_MASK_BYTES,
    masks: MaskForm = "auto",
    limits: PromptLimits = DEFAULT_LIMITS,
) -> sv.Detections:
    """Segment the objects in boxes and at points of one image.

    Every box is one object, and every point list another. N prompts give N rows, in order, boxes
    first; only `threshold`, `class_filter` and `invalid_boxes: drop` leave rows out.

    Args:
        backend: Where SAM 2 runs. It is not called where there is nothing to ask.
        image: As `sam2_block.images.as_image` takes it.
        detections: Boxes in pixels of the image; nothing of them is changed.
        points: As `sam2_block.prompts.parse_point_objects` takes them.
        options: How to segment.
        dense_mask_bytes: Most bytes that `mask` may take as a dense array under `auto`.
        masks: Form of `mask`; see `Segmenter`.
        limits: How many boxes and points are taken.

    Returns:
        Detections with `mask` (`(N, H, W)`, a bool array or `CompactMasks`, which read like one),
        `xyxy` (the tight box of the mask, or where that is empty the prompt's box inside the
        image),
        `confidence`, and the columns of `detections.prompt_rows` and `sam2_score` (float).

    Raises:
        Sam2BlockError: The request, the settings or the checkpoint cannot be used.
    """
    image = as_image(image)
    detections = read_rows(sv.Detections.empty() if detections is None else detections)
    image_hw = (image.shape[0], image.shape[1])
    kept_boxes = rows_of_classes(detections, options.class_filter)
    limits.check(len(kept_boxes), points)
    by_box = prompts_from_boxes(detections.xyxy, image_hw, options.invalid_boxes, kept_boxes)
    if options.invalid_boxes == "drop":
        kept_boxes = kept_boxes[[prompt is not None for prompt in by_box]]
        by_box = [prompt for prompt in by_box if prompt is not None]
    by_points = prompts_from_points(points, image_hw)
    prompts = [*by_box, *by_points]
    warn_of_shares(prompts, image_hw)
    # Before anything is computed that would be lost if there is no memory for them.
    array = MaskArray(len(prompts), image_hw, dense_mask_bytes, masks)
    answers = _ask(backend, image, prompts, options)
    scores = np.array([answer.score if answer else 0.0 for answer in answers], dtype=np.float32)
    kept = np.flatnonzero(scores >= np.float32(options.threshold))
    of_points = [prompt.extent_xyxy for prompt in by_points]
    rows: sv.Detections = prompt_rows(detections, kept_boxes, of_points)[kept]
    extents = [*(clipped_box(box, image_hw) for box in detections.xyxy[kept_boxes]), *of_points]
    rows.data[SAM2_SCORE] = scores[kept]
    rows.confidence = _confidence(rows.confidence, scores[kept], options.confidence_source)
    # One mask at a time: no other stands at the image's size.
    for row, index in enumerate(kept):
        answer = answers[index]
        mask = answer.mask() if answer else EMPTY_MASK
        array.append(mask)
        rows.xyxy[row] = extents[index] if mask.is_empty else mask.box_xyxy
    rows.mask = array.get()
    return rows


def _ask(
    backend: Backend, image: Image, prompts: Sequence[Prompt | None], options: SegmentOptions
) -> list[MaskPrediction | None]:
    """Return one answer a prompt; None where the prompt is None."""
    asked = [index for index, prompt in enumerate(prompts) if prompt is not None]
    answers: list[MaskPrediction | None] = [None] * len(prompts)
    if asked:
        predictions = backend.predict(
            image,
            [prompt for prompt in prompts if prompt is not None],
            version=options.version,
            multimask_output=bool(options.multimask_output),
        )
        for index, prediction in zip(asked, predictions, strict=True):
            answers[index] = prediction
    return answers


def _confidence(
    of_detector: NDArray[np.float32], of_sam: NDArray[np.float32], source: ConfidenceSource
) -> NDArray[np.float32]:
    """Choose the confidence; an object that no detector gave one to has SAM's."""
    if source == "sam":
        return of_sam.copy()
    return np.where(np.isnan(of_detector), of_sam, of_detector).astype(np.float32)
