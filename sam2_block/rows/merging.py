"""Rows of this package beside rows of others in `sv.Detections.merge`.

The engine's blocks combine rows by that method (`detections_combine`, `detections_stitch`,
`detections_consensus`), and it raises unless all parts have the same columns and all or none have
tracks. Rows of this package have two columns that no other block writes, and those of its prompt.
No choice of columns satisfies every pair: rows without a track must have `tracker_id=None` to
merge with an untracked model's, and an array to merge with tracked rows of a second step.

So the method is extended, for lists that hold rows of this package and for no others.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterable
from typing import Any

import numpy as np
import supervision as sv

from sam2_block.rows.columns import PROMPT_DETECTION_ID, SAM2_SCORE, UNTRACKED

# What rows that are not of this package have in its columns.
_OWN_COLUMNS = {SAM2_SCORE: np.float32(np.nan), PROMPT_DETECTION_ID: np.str_("")}


def aligned(parts: Iterable[sv.Detections]) -> list[sv.Detections]:
    """Give detections the same columns where some of them are rows of this package.

    A column that one part lacks is left out of all, as is a key of `metadata`; a made-up value
    could be taken for a measured one. `sam2_score` and `prompt_detection_id` stay, NaN and empty
    for the rows of others. Where one part is tracked, rows of the others are untracked (-1).

    Args:
        parts: Detections, of which nothing is changed.

    Returns:
        The parts, in order; without rows of this package as they are.
    """
    parts = list(parts)
    filled = [part for part in parts if len(part)]
    if not any(SAM2_SCORE in part.data for part in filled):
        return parts
    shared = set.intersection(*(set(part.data) for part in filled)) | set(_OWN_COLUMNS)
    shared_metadata = set.intersection(*(set(part.metadata) for part in filled))
    tracked = any(part.tracker_id is not None for part in filled)
    return [_with_columns(part, shared, shared_metadata, tracked) for part in filled]


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
    """Let `sv.Detections.merge` take rows of this package beside any others; once a process."""
    original = sv.Detections.merge.__func__
    if hasattr(original, "extended_by"):
        return

    @functools.wraps(original)
    def merge(cls: Any, detections_list: Iterable[sv.Detections]) -> sv.Detections:
        return original(cls, aligned(detections_list))

    merge.extended_by = "sam2_block"  # type: ignore[attr-defined]
    sv.Detections.merge = classmethod(merge)
