"""Boxes as programs have them: detections, arrays, tensors, or lists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import supervision as sv

from sam2_block.errors import PromptError
from sam2_block.messages.short_repr import short_repr
from sam2_block.rows.detections import class_names, rows_of_classes

BoxesInput = Any
"""`sv.Detections`, or numbers of shape `(N, 4)`; see `as_detections`."""

_MAX_NAMES = 8
# In images up to this size a box may well lie within the first pixel.
_SMALL_SIDE = 16

_EXPECTED = "boxes: expected sv.Detections, or (N, 4) numbers: left, top, right, bottom in pixels"


def as_detections(boxes: Any) -> sv.Detections | None:
    """Return boxes as detections.

    Args:
        boxes: `sv.Detections`, returned as they are; an array, a tensor or a list of shape
            `(N, 4)`, or `(4,)` for one box; or None.

    Raises:
        PromptError: They are anything else.
    """
    if boxes is None or isinstance(boxes, sv.Detections):
        return boxes
    if hasattr(boxes, "detach"):  # a tensor, on any device
        boxes = boxes.detach().cpu()
    try:
        xyxy = np.asarray(boxes, dtype=np.float32)
    except (TypeError, ValueError):
        raise PromptError(f"{_EXPECTED}; got {short_repr(boxes)}.{_hint(boxes)}") from None
    if xyxy.size == 0:
        return sv.Detections.empty()
    if xyxy.shape == (4,):
        xyxy = xyxy[None]
    if xyxy.ndim != 2 or xyxy.shape[1] != 4:
        raise PromptError(f"{_EXPECTED}; got shape {xyxy.shape}.")
    return sv.Detections(xyxy=xyxy)


def doubts_about_boxes(
    rows: sv.Detections, class_filter: Sequence[str] | None, image_hw: tuple[int, int]
) -> list[str]:
    """Return a sentence for each sign that boxes are not what their caller thinks.

    Args:
        rows: Boxes in pixels.
        class_filter: See `SegmentOptions`.
        image_hw: Height and width of the image.
    """
    try:
        if np.iscomplexobj(rows.xyxy):
            return []
        xyxy = np.asarray(rows.xyxy, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        return []
    if xyxy.ndim != 2 or xyxy.shape[1] != 4 or not len(xyxy):
        return []  # empty, or malformed: `segment_image` raises
    count = len(xyxy)
    doubts = []
    if class_filter and not len(rows_of_classes(rows, class_filter)):
        names = ", ".join(sorted(set(class_names(rows).tolist()))[:_MAX_NAMES])
        doubts.append(f"class_filter: selects 0 of {count} boxes; the classes here are {names}.")
    height, width = image_hw
    left, top, right, bottom = xyxy.T
    reversed_edges = (right <= left) | (bottom <= top)
    outside = (right <= 0) | (bottom <= 0) | (left >= width) | (top >= height)
    if max(image_hw) > _SMALL_SIDE and ((xyxy >= 0) & (xyxy <= 1)).all():
        doubts.append(
            "boxes: all coordinates are from 0 to 1, and are read as pixels of an image"
            f" {width} wide and {height} high; if they are normalized, multiply them by its width"
            " and height."
        )
    elif np.count_nonzero(reversed_edges) * 2 > count:
        doubts.append(
            f"boxes: {np.count_nonzero(reversed_edges)} of {count} have their right edge left of"
            " the left one, or the bottom above the top; if they are x, y, width and height,"
            " convert them by sv.xywh_to_xyxy."
        )
    elif (reversed_edges | outside | ~np.isfinite(xyxy).all(axis=1)).any() and not outside.all():
        doubts.append(
            "boxes: some have no area inside the image; see `invalid_boxes` for what they give."
        )
    elif outside.all():
        doubts.append(
            f"boxes: all {count} lie outside the image, {width} wide and {height} high; are they of"
            " another image, or of this one before it was resized?"
        )
    return doubts


def _hint(boxes: Any) -> str:
    module = type(boxes).__module__.partition(".")[0]
    if isinstance(boxes, list) and boxes:
        module = type(boxes[0]).__module__.partition(".")[0]
    if module == "ultralytics":
        return " Convert them by sv.Detections.from_ultralytics(results[0])."
    if isinstance(boxes, dict):
        return " Pass its boxes, as in results['boxes']."
    return ""
