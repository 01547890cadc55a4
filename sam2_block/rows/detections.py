"""Reads the input rows of prompts, and makes the output rows of masks.

Each output row keeps the identity of its object: its class, its track and every further column from
the detector or a block in between.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

import numpy as np
import supervision as sv
from numpy.typing import NDArray

from sam2_block.masks.mask_boxes import boxes_over_masks, boxes_over_rle
from sam2_block.rows.class_ids import class_id_of_name, class_ids_of_names
from sam2_block.rows.columns import (
    CLASS_NAME,
    DETECTION_ID,
    PROMPT_DETECTION_ID,
    RLE_MASK,
    UNTRACKED,
    outdated_columns,
)
from sam2_block.rows.merging import extend_merge
from sam2_block.rows.row_checks import checked_rows

POINT_CLASS_NAME = "foreground"
POINT_CLASS_ID = class_id_of_name(POINT_CLASS_NAME)

Indices = NDArray[np.intp]

# Columns with one value for all rows of an image, and that value for an image without a parent.
_IMAGE_COLUMNS = {"scaling_relative_to_parent": 1.0, "scaling_relative_to_root_parent": 1.0}

# This module makes rows, so merging must support them from here on.
extend_merge()


def read_rows(detections: Any) -> sv.Detections:
    """Read the detections of a detector, or of a block after one, as prompts.

    Args:
        detections: Detections, which are not modified.

    Returns:
        Rows with checked columns and without masks. Boxes of rows that had masks enclose the last
        pixels of these (`masks.mask_boxes`).

    Raises:
        PromptError: A column cannot be read; see `row_checks.checked_rows`.
    """
    rows = checked_rows(detections)
    rle = rows.data.get(RLE_MASK)
    if rows.mask is not None:
        rows.xyxy = boxes_over_masks(rows.xyxy, rows.mask)
    elif rle is not None:
        rows.xyxy = boxes_over_rle(rows.xyxy, rle)
    # Without masks, reading the rows again does not move their boxes again.
    rows.mask = None
    rows.data.pop(RLE_MASK, None)
    return rows


def rows_of_classes(detections: sv.Detections, class_filter: Sequence[str] | None) -> Indices:
    """Return the indices of rows whose class is in `class_filter`; all indices without a filter."""
    if not class_filter:
        return np.arange(len(detections))
    return np.flatnonzero(np.isin(class_names(detections), list(class_filter)))


def class_names(detections: sv.Detections) -> NDArray[Any]:
    """Return the class name of each row; without names, the class id as text, or `object`."""
    if CLASS_NAME in detections.data:
        return np.asarray(detections.data[CLASS_NAME])
    if detections.class_id is not None:
        return np.array([str(class_id) for class_id in detections.class_id], dtype=np.str_)
    return np.array(["object"] * len(detections), dtype=np.str_)


def prompt_rows(
    detections: sv.Detections,
    indices: Indices,
    point_boxes_xyxy: Sequence[tuple[float, float, float, float]],
) -> sv.Detections:
    """Make one row per prompt: the detections' rows, then one for each object given by points.

    Args:
        detections: Detections, which are not modified; their masks are ignored.
        indices: Indices of the rows to use, in order.
        point_boxes_xyxy: The box around the points of each object given by points.

    Returns:
        Rows without masks, with `class_name`, `class_id`, `prompt_detection_id` and a new
        `detection_id`; `confidence` is the detector's, NaN if it returned none. Classes that have
        only a name get an id from the name (`class_ids`). An object given by points has the class
        `foreground`, whose id no other class of the rows has, and an empty `prompt_detection_id`.
        It is untracked (-1) if others are tracked, and has the null value of the column's type
        (NaN, 0, False, empty text or None) in further columns.
    """
    count, point_objects = len(indices), len(point_boxes_xyxy)
    total = len(detections)

    def extended(values: Any, fill: Any = None) -> NDArray[Any]:
        return _extended(_column(values)[indices], point_objects, fill)

    outdated = outdated_columns(detections.data)
    data = {
        name: extended(values, _IMAGE_COLUMNS.get(name))
        for name, values in detections.data.items()
        if name not in outdated
    }
    data[CLASS_NAME] = np.array(
        [*class_names(detections)[indices].tolist(), *[POINT_CLASS_NAME] * point_objects],
        dtype=np.str_,
    )
    prompt_ids = detections.data.get(DETECTION_ID)
    prompt_ids = _new_ids(count) if prompt_ids is None else [str(prompt_ids[i]) for i in indices]
    data[PROMPT_DETECTION_ID] = np.array([*prompt_ids, *[""] * point_objects], dtype=np.str_)
    data[DETECTION_ID] = np.array(_new_ids(count + point_objects), dtype=np.str_)
    class_id = _class_ids(detections)
    confidence = detections.confidence
    confidence = np.full(total, np.nan) if confidence is None else confidence
    tracker_id = detections.tracker_id
    with np.errstate(over="ignore"):  # an invalid box, which its row's new box replaces
        boxes = detections.xyxy[indices].astype(np.float32)
    point_boxes = np.array(point_boxes_xyxy, dtype=np.float32).reshape(-1, 4)
    return sv.Detections(
        xyxy=np.concatenate([boxes, point_boxes]),
        confidence=extended(confidence.astype(np.float32)),
        class_id=extended(class_id, _point_class_id(detections, class_id)),
        # Signed: an untracked object is -1.
        tracker_id=None if tracker_id is None else extended(tracker_id.astype(int), UNTRACKED),
        data=data,
        metadata=dict(detections.metadata),
    )


def _class_ids(detections: sv.Detections) -> NDArray[Any]:
    """Return the class id of each row; 0 if the detector returned neither ids nor names."""
    if detections.class_id is not None:
        return np.asarray(detections.class_id)
    if CLASS_NAME not in detections.data:
        return np.zeros(len(detections), dtype=np.int64)
    return np.array(class_ids_of_names(class_names(detections).tolist()), dtype=np.int64)


def _point_class_id(detections: sv.Detections, class_id: NDArray[Any]) -> int:
    """Return the id of the class `foreground`: the same in all images, unless it is taken."""
    names = class_names(detections).tolist()
    pairs = zip(class_id.tolist(), names, strict=True)
    taken = {id_ for id_, name in pairs if name != POINT_CLASS_NAME}
    return class_id_of_name(POINT_CLASS_NAME, taken) if taken else POINT_CLASS_ID


def _new_ids(count: int) -> list[str]:
    return [str(uuid.uuid4()) for _ in range(count)]


def _column(values: Any) -> NDArray[Any]:
    """Return a column as an array, of objects if its cells differ in shape."""
    if isinstance(values, np.ndarray):
        return values
    try:
        return np.array(values)
    except ValueError:
        return object_column(values)


def object_column(values: Sequence[Any]) -> NDArray[Any]:
    """Return an object column of the unchanged values, `(N,)`, whatever their shapes."""
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


def _extended(column: NDArray[Any], rows: int, fill: Any = None) -> NDArray[Any]:
    """Append `rows` rows to a column, filled with the null value of its type."""
    if fill is None:
        fill = _null_of(column)
    tail = np.empty((rows, *column.shape[1:]), dtype=column.dtype)
    for index in np.ndindex(tail.shape):
        tail[index] = fill
    return np.concatenate([column, tail])


def _null_of(column: NDArray[Any]) -> Any:
    """Return the null value of a column's type.

    For a column of objects it depends on the values: empty text for text, as the engine pads the
    names of keypoints; an empty list for lists and arrays, such as a row's keypoints; else None.
    """
    if column.dtype.kind == "O":
        if len(column) and all(
            isinstance(value, (list, tuple, np.ndarray)) for value in column.flat
        ):
            return []
        return "" if all(isinstance(value, str) for value in column.flat) else None
    by_kind = {"f": np.nan, "c": np.nan, "U": "", "S": b"", "M": np.datetime64("NaT")}
    return by_kind.get(column.dtype.kind, 0)
