"""Boxes that are probably not what their caller thinks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import supervision as sv

from sam2_block.prompts.normalized_coordinates import SMALL_SIDE, normalized_sentence
from sam2_block.rows.detections import class_names, rows_of_classes

_MAX_NAMES = 8


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
    if max(image_hw) > SMALL_SIDE and ((xyxy >= 0) & (xyxy <= 1)).all():
        doubts.append(f"{normalized_sentence('boxes', image_hw)}.")
    elif np.count_nonzero(reversed_edges) * 2 > count:
        doubts.append(
            f"boxes: {np.count_nonzero(reversed_edges)} of {count} have their right edge left of"
            " the left one, or the bottom above the top; if they are x, y, width and height,"
            " convert them by sv.xywh_to_xyxy."
        )
    elif outside.all():
        doubts.append(
            f"boxes: all {count} lie outside the image, {width} wide and {height} high; are they of"
            " another image, or of this one before it was resized?"
        )
    elif (reversed_edges | outside | ~np.isfinite(xyxy).all(axis=1)).any():
        doubts.append(
            "boxes: some have no area inside the image; see `invalid_boxes` for what they give."
        )
    return doubts
