"""Support for rows of this package in `sv.Detections.merge`.

The engine's blocks combine rows by that method (`detections_combine`, `detections_stitch`,
`detections_consensus`), and it raises unless all parts have the same columns and all or none have
tracks. Rows of this package have two columns that no other block writes, and those of their prompt.
No choice of columns satisfies every pair: rows without a track must have `tracker_id=None` to
merge with an untracked model's, and an array to merge with tracked rows of a second step.

So the method is extended, but only for lists that contain rows of this package.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterable
from typing import Any

import numpy as np
import supervision as sv

from sam2_block.rows.columns import PROMPT_DETECTION_ID, SAM2_SCORE, UNTRACKED

# Values of this package's columns in other rows.
_OWN_COLUMNS = {SAM2_SCORE: np.float32(np.nan), PROMPT_DETECTION_ID: np.str_("")}


def aligned(parts: Iterable[sv.Detections]) -> list[sv.Detections]:
    """Give detections the same columns if some of them are rows of this package.

    A column or a `metadata` key that one part lacks is dropped from all parts, because an invented
    value could be mistaken for a measured one. `sam2_score` and `prompt_detection_id` are retained:
    NaN and empty in other rows. If one part is tracked, rows of untracked parts are untracked (-1).

    Args:
        parts: Detections, which are not modified.

    Returns:
        The parts that have rows, in order; all parts unchanged if no row is of this package.
    """
    parts = list(parts)
    non_empty = [part for part in parts if len(part)]
    if not any(SAM2_SCORE in part.data for part in non_empty):
        return parts
    shared = set.intersection(*(set(part.data) for part in non_empty)) | set(_OWN_COLUMNS)
    shared_metadata = set.intersection(*(set(part.metadata) for part in non_empty))
    tracked = any(part.tracker_id is not None for part in non_empty)
    return [_with_columns(part, shared, shared_metadata, tracked) for part in non_empty]


def _with_columns(
    part: sv.Detections, columns: set[str], metadata: set[str], tracked: bool
) -> sv.Detections:
    changed = copy.copy(part)
    changed.data = {name: values for name, values in part.data.items() if name in columns}
    for name, fill in _OWN_COLUMNS.items():
        changed.data.setdefault(name, np.full(len(part), fill))
    changed.metadata = {key: value for key, value in part.metadata.items() if key in metadata}
    if tracked and part.tracker_id is None:
        changed.tracker_id = np.full(len(part), UNTRACKED)
    return changed


def extend_merge() -> None:
    """Extend `sv.Detections.merge` to rows of this package among others; once per process."""
    original = sv.Detections.merge.__func__
    if hasattr(original, "extended_by"):
        return

    @functools.wraps(original)
    def merge(cls: Any, detections_list: Iterable[sv.Detections]) -> sv.Detections:
        return original(cls, aligned(detections_list))

    merge.extended_by = "sam2_block"  # type: ignore[attr-defined]
    sv.Detections.merge = classmethod(merge)
