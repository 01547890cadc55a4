"""The whole step without the engine: from image, boxes and points to detections with masks."""

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
from sam2_block.out_of_memory import converting_mask_memory_errors
from sam2_block.prompts.normalized_coordinates import warn_of_normalized_coordinates
from sam2_block.prompts.row_prompts import RowPrompt, row_prompts
from sam2_block.rows.columns import SAM2_SCORE
from sam2_block.rows.detections import prompt_rows, read_rows
from sam2_block.segment_options import ConfidenceSource, SegmentOptions
from sam2_block.settings import LimitSettings, OutputSettings

_DEFAULT_OUTPUT = OutputSettings()
_DEFAULT_LIMITS = LimitSettings()


@converting_mask_memory_errors()
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
        backend: Where SAM 2 runs. It is not called without a valid prompt.
        image: As `sam2_block.images.as_image` takes it.
        detections: Boxes in pixels of the image; they are not modified.
        points: As `sam2_block.prompts.parse_point_objects` takes them.
        options: How to segment.
        output: Form of `mask`.
        limits: Maximum numbers of boxes and points.

    Returns:
        Detections with `mask` (`(N, H, W)`, a bool array or `CompactMasks`, which have the same
        interface), `xyxy` (the tight box of the mask; if the mask is empty, the prompt's box inside
        the image), `confidence`, the columns of `detections.prompt_rows`, and `sam2_score` (float).

    Raises:
        Sam2BlockError: The request, the settings or the checkpoint cannot be used.
    """
    image = as_image(image)
    image_hw = (image.shape[0], image.shape[1])
    source = read_rows(sv.Detections.empty() if detections is None else detections)
    prompts = row_prompts(source, points, image_hw, options, limits)
    warn_of_normalized_coordinates([one.prompt for one in prompts], image_hw)
    # Allocate the masks first: without memory for them, predictions would be computed in vain.
    array = MaskArray(len(prompts), image_hw, output.dense_mask_bytes, output.masks)
    predictions = _predict(backend, image, prompts, options)
    selected = [
        (prompt, prediction)
        for prompt, prediction in zip(prompts, predictions, strict=True)
        if np.float32(_score(prediction)) >= np.float32(options.threshold)
    ]
    rows = _rows(source, selected, options.confidence_source)
    _paste(rows, selected, array)
    return rows


_Predicted = tuple[RowPrompt, MaskPrediction | None]
"""An object and its prediction, which is None for an invalid box."""


def _predict(
    backend: Backend, image: Image, prompts: Sequence[RowPrompt], options: SegmentOptions
) -> list[MaskPrediction | None]:
    """Return one prediction per object, None for an invalid box."""
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
    source: sv.Detections, selected: Sequence[_Predicted], confidence_source: ConfidenceSource
) -> sv.Detections:
    """Make the rows of the objects, without masks."""
    indices = [prompt.source_row for prompt, _ in selected if prompt.source_row is not None]
    point_boxes = [prompt.extent_xyxy for prompt, _ in selected if prompt.source_row is None]
    rows: sv.Detections = prompt_rows(source, np.array(indices, dtype=np.intp), point_boxes)
    scores = np.array([_score(prediction) for _, prediction in selected], dtype=np.float32)
    rows.data[SAM2_SCORE] = scores
    rows.confidence = _confidence(rows.confidence, scores, confidence_source)
    return rows


def _paste(rows: sv.Detections, selected: Sequence[_Predicted], array: MaskArray) -> None:
    """Fill in the masks and their boxes, with only one mask at full size at a time."""
    for row, (prompt, prediction) in enumerate(selected):
        mask = prediction.mask() if prediction else EMPTY_MASK
        array.append(mask)
        rows.xyxy[row] = prompt.extent_xyxy if mask.is_empty else mask.box_xyxy
    rows.mask = array.get()


def _confidence(
    detector: NDArray[np.float32], sam: NDArray[np.float32], source: ConfidenceSource
) -> NDArray[np.float32]:
    """Select the confidence; SAM's is used for objects without one from the detector."""
    if source == "sam":
        return sam.copy()
    return np.where(np.isnan(detector), sam, detector).astype(np.float32)
