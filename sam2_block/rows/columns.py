"""Names of columns, and which of them a prompt hands on to its mask."""

from __future__ import annotations

from collections.abc import Iterable

CLASS_NAME = "class_name"
DETECTION_ID = "detection_id"
RLE_MASK = "rle_mask"

# Written by this package alone.
PROMPT_DETECTION_ID = "prompt_detection_id"
SAM2_SCORE = "sam2_score"

UNTRACKED = -1
"""The `tracker_id` of an object that no tracker follows, beside others that one does."""

# Columns that describe the mask or the box which came in with the prompt: its outline, measured
# areas, COCO's `area` and `iscrowd`, a semantic model's map. Serialisers and exporters would write
# them beside the new mask, so they do not travel on.
OF_THE_OLD_MASK = (
    "polygon",
    RLE_MASK,
    "area",
    "iscrowd",
    "area_px",
    "area_converted",
    "confidence_mask",
)

# `bounding_rect` writes these four. The last three are common words: without the first they are
# somebody's own columns, and stay.
_OF_THE_OLD_RECTANGLE = ("rect", "width", "height", "angle")


def of_the_old_mask(columns: Iterable[str]) -> set[str]:
    """Return those of some columns that describe the mask or the box that came in."""
    columns = set(columns)
    rectangle = set(_OF_THE_OLD_RECTANGLE) if _OF_THE_OLD_RECTANGLE[0] in columns else set()
    return columns & (set(OF_THE_OLD_MASK) | rectangle)
