"""Validation of rows from a detector, a tracker or a block in between.

Programs fill in `sv.Detections` by hand, and supervision checks little: a tracker id may be None, a
column one row short. Rows that pass have the types that the rest of the package expects.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import supervision as sv
from numpy.typing import NDArray
from supervision.detection.compact_mask import CompactMask

from sam2_block.errors import PromptError
from sam2_block.messages.short_repr import short_repr
from sam2_block.rows.columns import CLASS_NAME, UNTRACKED

_INT64 = np.iinfo(np.int64)
_MAX_SHOWN = 80


def checked_rows(detections: Any) -> sv.Detections:
    """Return detections as rows whose columns have the expected types and lengths.

    Args:
        detections: Detections, which are not modified.

    Returns:
        Rows with `xyxy` `(N, 4)` float, not necessarily finite; `mask` unchanged; `confidence`
        float or None, NaN in rows without a finite one; `class_id` int64 or None; `tracker_id`
        int64 or None, -1 in rows without a track; `class_name` as text. Other columns are
        unchanged, with a value for each row.

    Raises:
        PromptError: The value is not `sv.Detections`, or a column cannot be read; the message
            names the column, the row, and what is expected.
    """
    if not isinstance(detections, sv.Detections):
        raise PromptError(f"boxes: expected sv.Detections; got {type(detections).__name__}.")
    rows = sv.Detections.empty()
    rows.xyxy = checked_boxes(detections.xyxy)
    count = len(rows.xyxy)
    rows.mask = _masks(detections.mask, count)
    rows.confidence = _numbers("confidence", detections.confidence, count)
    rows.class_id = _integers("class_id", detections.class_id, count)
    rows.tracker_id = _integers("tracker_id", detections.tracker_id, count, missing=UNTRACKED)
    rows.data = _columns(detections.data, count)
    if not isinstance(detections.metadata, dict):
        raise _problem("metadata", "a dict", detections.metadata)
    rows.metadata = detections.metadata
    return rows


def shown(value: Any) -> str:
    """Return a value for a message, in at most 80 characters."""
    if isinstance(value, (np.ndarray, CompactMask)):
        dtype = getattr(value, "dtype", "")
        return f"{type(value).__name__} {dtype} of shape {value.shape}"[:_MAX_SHOWN]
    return short_repr(value)


def _problem(column: str, expected: str, value: Any, row: int | None = None) -> PromptError:
    where = "" if row is None else f", row {row}"
    return PromptError(f"boxes: {column}{where}: expected {expected}; got {shown(value)}.")


def checked_boxes(values: Any) -> NDArray[Any]:
    """Return boxes as an array of numbers, `(N, 4)`; raises the errors of `checked_rows`."""
    expected = "numbers of shape (N, 4), as x1, y1, x2, y2"
    array = _array("xyxy", values, expected)
    if array.size == 0 and array.ndim in (1, 2) and len(array) == 0:
        return np.zeros((0, 4), dtype=np.float32)
    if array.ndim != 2 or array.shape[1] != 4:
        raise _problem("xyxy", expected, array)
    if array.dtype.kind in "iuf":
        return array
    boxes = np.empty(array.shape, dtype=np.float64)
    for row, edges in enumerate(array.tolist()):
        for column, edge in enumerate(edges):
            boxes[row, column] = _number("xyxy", edge, row)
    return boxes


def _masks(masks: Any, count: int) -> Any:
    if masks is None:
        return None
    expected = f"None, sv.CompactMask or an array of bool, ({count}, H, W)"
    # Only lengths are checked: for more, compact masks would have to be made dense.
    if not isinstance(masks, (np.ndarray, CompactMask)):
        raise _problem("mask", expected, masks)
    if len(masks.shape) != 3 or masks.shape[0] != count:
        raise _problem("mask", expected, masks)
    if isinstance(masks, np.ndarray) and masks.dtype.kind not in "biuf":
        raise _problem("mask", expected, masks)
    return masks


def _numbers(column: str, values: Any, count: int) -> NDArray[np.float32] | None:
    """Read a column of numbers; None, NaN and infinity become NaN."""
    if values is None:
        return None
    array = _column(column, values, count, "a number or None for each row")
    if array.dtype.kind not in "iuf":
        numbers = [
            math.nan if value is None else _number(column, value, row)
            for row, value in enumerate(array.tolist())
        ]
        array = np.array(numbers, dtype=np.float64)
    with np.errstate(over="ignore"):
        floats = array.astype(np.float32)
    return np.where(np.isfinite(floats), floats, np.float32(np.nan))


def _integers(
    column: str, values: Any, count: int, missing: int | None = None
) -> NDArray[np.int64] | None:
    """Read a column of whole numbers; None and NaN become `missing`, and raise without one."""
    if values is None:
        return None
    expected = "a whole number of 64 bits" + ("" if missing is None else ", or None if untracked")
    array = _column(column, values, count, f"{expected}, for each row")
    if array.dtype.kind == "i":
        return array.astype(np.int64)
    integers = np.empty(count, dtype=np.int64)
    for row, value in enumerate(array.tolist()):
        if isinstance(value, np.generic):
            value = value.item()
        is_missing = value is None or (isinstance(value, float) and math.isnan(value))
        if is_missing and missing is not None:
            value = missing
        if not _is_int64(value):
            raise _problem(column, expected, value, row)
        integers[row] = int(value)
    return integers


def _is_int64(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    if isinstance(value, float) and not value.is_integer():
        return False
    return _INT64.min <= int(value) <= _INT64.max


def _number(column: str, value: Any, row: int) -> float:
    """Read one number; a number too large for a float becomes infinite."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _problem(column, "a number", value, row)
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _columns(data: Any, count: int) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise _problem("data", "a dict of columns", data)
    columns = {}
    for name, values in data.items():
        if not isinstance(name, str):
            raise _problem("data", "names of columns", name)
        read: Callable[..., Any] = _names if name == CLASS_NAME else _other_column
        columns[name] = read(_shown_name(name), values, count)
    return columns


def _names(column: str, values: Any, count: int) -> NDArray[np.str_]:
    array = _column(column, values, count, "a name for each row")
    if array.dtype.kind == "U":
        return array
    names = []
    for row, value in enumerate(array.tolist()):
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            raise _problem(column, "a name", value, row)
        names.append(str(value))
    return np.array(names, dtype=np.str_)


def _other_column(column: str, values: Any, count: int) -> Any:
    """Check only that a column has a value for each row, of any type."""
    is_column = isinstance(values, (list, tuple)) or (
        isinstance(values, np.ndarray) and values.ndim > 0
    )
    if not is_column:
        raise _problem(column, f"an array or a list of {count} values", values)
    if len(values) != count:
        raise _length_problem(column, len(values), count)
    return list(values) if isinstance(values, tuple) else values


def _column(column: str, values: Any, count: int, expected: str) -> NDArray[Any]:
    array = _array(column, values, expected)
    if array.ndim != 1:
        raise _problem(column, expected, array if array.ndim else values)
    if len(array) != count:
        raise _length_problem(column, len(array), count)
    return array


def _array(column: str, values: Any, expected: str) -> NDArray[Any]:
    if isinstance(values, np.ndarray):
        return values
    if not isinstance(values, (list, tuple)):
        raise _problem(column, expected, values)
    try:
        # As objects, so that each cell is checked: NumPy would turn bools and integers into floats.
        return np.array(values, dtype=object)
    except ValueError as error:  # cells of different shapes
        raise _problem(column, expected, values) from error


def _length_problem(column: str, length: int, count: int) -> PromptError:
    return PromptError(
        f"boxes: {column}: expected {count} values, one for each box; got {length}."
        f" Row {min(length, count)} is the first without a counterpart."
    )


def _shown_name(name: str) -> str:
    return name if len(name) <= _MAX_SHOWN else name[: _MAX_SHOWN - 3] + "..."
