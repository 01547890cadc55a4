"""Compare what two runs of a workflow gave."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import supervision as sv
from roboflow_workflows.execution_engine.entities.base import WorkflowImageData


def differences(one: Any, other: Any) -> list[str]:
    """Return the places in which two results differ.

    Identifiers and times differ between any two runs: compare two runs of the same to know them.
    """
    return sorted(_differences(_plain(one), _plain(other), ""))


def _plain(value: Any) -> Any:
    """Return a value made of dicts, lists, arrays and scalars only."""
    if isinstance(value, sv.Detections):
        columns = {name: list(column) for name, column in value.data.items()}
        return {
            "xyxy": np.asarray(value.xyxy),
            "mask": None if value.mask is None else np.asarray(value.mask).astype(bool),
            "confidence": value.confidence,
            "class_id": value.class_id,
            "tracker_id": value.tracker_id,
            **{name: _plain(column) for name, column in columns.items()},
        }
    if isinstance(value, WorkflowImageData):
        return value.numpy_image
    if isinstance(value, Mapping):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, str) and value.startswith("{"):
        with contextlib.suppress(ValueError):
            return _plain(json.loads(value))
    return value


def _differences(one: Any, other: Any, place: str) -> Iterator[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        for name in one.keys() | other.keys():
            if name not in one or name not in other:
                yield f"{place}.{name} is in one only"
            else:
                yield from _differences(one[name], other[name], f"{place}.{name}")
    elif isinstance(one, list) and isinstance(other, list):
        if len(one) != len(other):
            yield f"{place}: {len(one)} and {len(other)} elements"
            return
        for index, (left, right) in enumerate(zip(one, other, strict=True)):
            yield from _differences(left, right, f"{place}[{index}]")
    elif not _equal(one, other):
        yield f"{place} differs"


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        if one is None or other is None:
            return one is other
        one, other = np.asarray(one), np.asarray(other)
        is_number = one.dtype.kind == other.dtype.kind == "f"
        return np.array_equal(one, other, equal_nan=is_number)
    return bool(one == other) or (one != one and other != other)
