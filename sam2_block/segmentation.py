"""From an image, boxes and points to detections with masks: the whole step, without the engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import supervision as sv
from numpy.typing import NDArray

from sam2_block.backends.protocol import Backend, MaskPrediction
from sam2_block.images import Image, as_image
from sam2_block.masks import EMPTY_MASK
from sam2_block.masks.arrays import MaskArray
from sam2_block.out_of_memory import naming_mask_memory_errors
from sam2_block.prompts.normalized_coordinates import warn_of_normalized_coordinates
from sam2_block.prompts.row_prompts import RowPrompt, row_prompts
from sam2_block.rows.columns import SAM2_SCORE
from sam2_block.rows.detections import prompt_rows, read_rows
from sam2_block.segment_options import ConfidenceSource, SegmentOptions
from sam2_block.settings import LimitSettings, OutputSettings

_DEFAULT_OUTPUT = OutputSettings()
_DEFAULT_LIMITS = LimitSettings()


@naming_mask_memory_errors()
def segment_image(
    backend: Backend,
    image: Any,
    detections: sv.Detections | None,
    points: Any,
    options: SegmentOptions,
    *,
    output: OutputSettings = _DEFAULT_OUTPUT,
    limits: LimitSettings = _DEFAULT_LIMITS,
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
        output: Form of `mask`.
        limits: Maximum numbers of boxes and points.

    Returns:
        Detections with `mask` (`(N, H, W)`, a bool array or `CompactMasks`, which read like one),
        `xyxy` (the tight box of the mask, or where that is empty the prompt's box inside the
        image),
        `confidence`, and the columns of `detections.prompt_rows` and `sam2_score` (float).

    Raises:
        Sam2BlockError: The request, the settings or the checkpoint cannot be used.
    """
    image = as_image(image)
    image_hw = (image.shape[0], image.shape[1])
    source = read_rows(sv.Detections.empty() if detections is None else detections)
    prompts = row_prompts(source, points, image_hw, options, limits)
    warn_of_normalized_coordinates([one.prompt for one in prompts], image_hw)
    # Before anything is computed that would be lost if there is no memory for them.
    array = MaskArray(len(prompts), image_hw, output.dense_mask_bytes, output.masks)
    predictions = _predict(backend, image, prompts, options)
    kept = [
        (prompt, prediction)
        for prompt, prediction in zip(prompts, predictions, strict=True)
        if np.float32(_score(prediction)) >= np.float32(options.threshold)
    ]
    rows = _rows(source, kept, options.confidence_source)
    _paste(rows, kept, array)
    return rows


_Predicted = tuple[RowPrompt, MaskPrediction | None]
"""An object, and what SAM 2 predicts for it; None for an invalid box."""


def _predict(
    backend: Backend, image: Image, prompts: Sequence[RowPrompt], options: SegmentOptions
) -> list[MaskPrediction | None]:
    """Return one prediction an object."""
    valid = {index: one.prompt for index, one in enumerate(prompts) if one.prompt is not None}
    if not valid:
        return [None] * len(prompts)
    predictions = backend.predict(
        image,
        list(valid.values()),
        version=options.version,
        multimask_output=bool(options.multimask_output),
    )
    by_index = dict(zip(valid, predictions, strict=True))
    return [by_index.get(index) for index in range(len(prompts))]


def _score(prediction: MaskPrediction | None) -> float:
    return prediction.score if prediction else 0.0


def _rows(
    source: sv.Detections, kept: Sequence[_Predicted], confidence_source: ConfidenceSource
) -> sv.Detections:
    """Make the rows of the objects, without masks."""
    of_boxes = [prompt.source_row for prompt, _ in kept if prompt.source_row is not None]
    of_points = [prompt.extent_xyxy for prompt, _ in kept if prompt.source_row is None]
    rows: sv.Detections = prompt_rows(source, np.array(of_boxes, dtype=np.intp), of_points)
    scores = np.array([_score(prediction) for _, prediction in kept], dtype=np.float32)
    rows.data[SAM2_SCORE] = scores
    rows.confidence = _confidence(rows.confidence, scores, confidence_source)
    return rows


def _paste(rows: sv.Detections, kept: Sequence[_Predicted], array: MaskArray) -> None:
    """Fill in the masks and their boxes: one mask at a time, no other stands at its full size."""
    for row, (prompt, prediction) in enumerate(kept):
        mask = prediction.mask() if prediction else EMPTY_MASK
        array.append(mask)
        rows.xyxy[row] = prompt.extent_xyxy if mask.is_empty else mask.box_xyxy
    rows.mask = array.get()


def _confidence(
    of_detector: NDArray[np.float32], of_sam: NDArray[np.float32], source: ConfidenceSource
) -> NDArray[np.float32]:
    """Choose the confidence; an object that no detector gave one to has SAM's."""
    if source == "sam":
        return of_sam.copy()
    return np.where(np.isnan(of_detector), of_sam, of_detector).astype(np.float32)
