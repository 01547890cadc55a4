"""The rows that go in with the prompts and come out with the masks.

Row by row, an object keeps who it is: its class, its track and every further column that the
detector or a block in between gave it.
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
    of_the_old_mask,
)
from sam2_block.rows.merging import extend_merge
from sam2_block.rows.row_checks import checked_rows

POINT_CLASS_NAME = "foreground"
POINT_CLASS_ID = class_id_of_name(POINT_CLASS_NAME)

Indices = NDArray[np.intp]

# Columns that say the same of every row of an image, and what they say of an image on its own.
_OF_THE_IMAGE = {"scaling_relative_to_parent": 1.0, "scaling_relative_to_root_parent": 1.0}

# Rows are made here, so from here on others can be merged with them.
extend_merge()


def read_rows(detections: Any) -> sv.Detections:
    """Read what a detector, or a block behind one, gives as prompts.

    Args:
        detections: Detections, of which nothing is changed.

    Returns:
        Rows whose columns are checked, without masks. The boxes of rows that came with masks
        enclose the last pixels of these (`masks.boxes`).

    Raises:
        PromptError: A column cannot be read; see `row_checks.checked_rows`.
    """
    rows = checked_rows(detections)
    rle = rows.data.get(RLE_MASK)
    if rows.mask is not None:
        rows.xyxy = boxes_over_masks(rows.xyxy, rows.mask)
    elif rle is not None:
        rows.xyxy = boxes_over_rle(rows.xyxy, rle)
    # Read once: where rows pass here again, their boxes stay as they are.
    rows.mask = None
    rows.data.pop(RLE_MASK, None)
    return rows


def rows_of_classes(detections: sv.Detections, class_filter: Sequence[str] | None) -> Indices:
    """Return the indices of the rows whose class is in `class_filter`; of all without a filter."""
    if not class_filter:
        return np.arange(len(detections))
    return np.flatnonzero(np.isin(class_names(detections), list(class_filter)))


def class_names(detections: sv.Detections) -> NDArray[Any]:
    """Return the class name of each row; where there are none, the class id as text."""
    if CLASS_NAME in detections.data:
        return np.asarray(detections.data[CLASS_NAME])
    if detections.class_id is not None:
        return np.array([str(class_id) for class_id in detections.class_id], dtype=np.str_)
    return np.array(["object"] * len(detections), dtype=np.str_)


def prompt_rows(
    detections: sv.Detections,
    kept: Indices,
    point_boxes_xyxy: Sequence[tuple[float, float, float, float]],
) -> sv.Detections:
    """Make one row a prompt: the detections' rows, then one for each object given by points.

    Args:
        detections: Detections, whose masks are not looked at; nothing of them is changed.
        kept: Indices of the rows to take, in order.
        point_boxes_xyxy: The box around the points of each object that is given by points.

    Returns:
        Rows without masks, with `class_name`, `class_id`, `prompt_detection_id` and a new
        `detection_id`; `confidence` is the detector's, NaN where it gave none. Classes with a name
        and no number have a number made of the name (`class_ids`). A point's object is of class
        `foreground`, whose number no other class here has; it has an empty `prompt_detection_id`,
        is untracked (-1) where others are tracked, and has the null value of their type (NaN, 0,
        False, empty text or None) in further columns.
    """
    count, point_objects = len(kept), len(point_boxes_xyxy)
    total = len(detections)

    def extended(values: Any, fill: Any = None) -> NDArray[Any]:
        return _extended(_column(values)[kept], point_objects, fill)

    outdated = of_the_old_mask(detections.data)
    data = {
        name: extended(values, _OF_THE_IMAGE.get(name))
        for name, values in detections.data.items()
        if name not in outdated
    }
    data[CLASS_NAME] = np.array(
        [*class_names(detections)[kept].tolist(), *[POINT_CLASS_NAME] * point_objects],
        dtype=np.str_,
    )
    prompt_ids = detections.data.get(DETECTION_ID)
    prompt_ids = _new_ids(count) if prompt_ids is None else [str(prompt_ids[i]) for i in kept]
    data[PROMPT_DETECTION_ID] = np.array([*prompt_ids, *[""] * point_objects], dtype=np.str_)
    data[DETECTION_ID] = np.array(_new_ids(count + point_objects), dtype=np.str_)
    class_id = _class_ids(detections)
    confidence = detections.confidence
    confidence = np.full(total, np.nan) if confidence is None else confidence
    tracker_id = detections.tracker_id
    with np.errstate(over="ignore"):  # such a box is invalid, and its row gets another
        boxes = detections.xyxy[kept].astype(np.float32)
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
    """Return the number of each row's class; 0 where the detector gave neither number nor name."""
    if detections.class_id is not None:
        return np.asarray(detections.class_id)
    if CLASS_NAME not in detections.data:
        return np.zeros(len(detections), dtype=np.int64)
    return np.array(class_ids_of_names(class_names(detections).tolist()), dtype=np.int64)


def _point_class_id(detections: sv.Detections, class_id: NDArray[Any]) -> int:
    """Return the number of the class `foreground`: the same in all images, unless it is taken."""
    names = class_names(detections).tolist()
    pairs = zip(class_id.tolist(), names, strict=True)
    taken = {number for number, name in pairs if name != POINT_CLASS_NAME}
    return class_id_of_name(POINT_CLASS_NAME, taken) if taken else POINT_CLASS_ID


def _new_ids(count: int) -> list[str]:
    return [str(uuid.uuid4()) for _ in range(count)]


def _column(values: Any) -> NDArray[Any]:
    """Return a column as an array; one whose cells differ in shape holds objects."""
    if isinstance(values, np.ndarray):
        return values
    try:
        return np.array(values)
    except ValueError:
        return object_column(values)


def object_column(values: Sequence[Any]) -> NDArray[Any]:
    """Return a column that holds values as they are, `(N,)`, whatever their shapes."""
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

    Text is empty text also in a column of objects, as the engine pads the names of keypoints; where
    the values are lists or arrays, such as a row's keypoints, it is an empty list.
    """
    if column.dtype.kind == "O":
        if len(column) and all(
            isinstance(value, (list, tuple, np.ndarray)) for value in column.flat
        ):
            return []
        return "" if all(isinstance(value, str) for value in column.flat) else None
    by_kind = {"f": np.nan, "c": np.nan, "U": "", "S": b"", "M": np.datetime64("NaT")}
    return by_kind.get(column.dtype.kind, 0)
