"""Names of columns, and the columns of a prompt that do not apply to its mask."""

from __future__ import annotations

from collections.abc import Iterable

CLASS_NAME = "class_name"
DETECTION_ID = "detection_id"
RLE_MASK = "rle_mask"

# Written only by this package.
PROMPT_DETECTION_ID = "prompt_detection_id"
SAM2_SCORE = "sam2_score"

UNTRACKED = -1
"""The `tracker_id` of an untracked object among tracked ones."""

# Columns that describe the mask or box of the prompt itself: its outline, measured areas, COCO's
# `area` and `iscrowd`, a semantic model's map. Serialisers and exporters would write them next to
# the new mask, so they are dropped.
_OLD_MASK_COLUMNS = (
    "polygon",
    RLE_MASK,
    "area",
    "iscrowd",
    "area_px",
    "area_converted",
    "confidence_mask",
)

# The block `bounding_rect` writes these four. The last three are common words: without the first
# they are the user's own columns, and are retained.
_OLD_RECTANGLE_COLUMNS = ("rect", "width", "height", "angle")


def outdated_columns(columns: Iterable[str]) -> set[str]:
    """Return the columns that describe the mask or box of the prompt, and not the new mask."""
    columns = set(columns)
    rectangle = set(_OLD_RECTANGLE_COLUMNS) if _OLD_RECTANGLE_COLUMNS[0] in columns else set()
    return columns & (set(_OLD_MASK_COLUMNS) | rectangle)
