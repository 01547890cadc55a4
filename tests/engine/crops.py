"""A scene with crops of it, and a crop of a crop, as steps of a workflow."""

from __future__ import annotations

from typing import Any

from tests.engine.workflows import DETECTED, detect, segment

HEIGHT, WIDTH = 100, 140
BLOB = (60, 40, 80, 55)
WHOLE, OUTER, INNER, SIBLING = (
    "$inputs.image",
    "$steps.outer.crops",
    "$steps.inner.crops",
    "$steps.sibling.crops",
)
# Left, top, right, bottom in the input image.
PLACES = {
    WHOLE: (0, 0, WIDTH, HEIGHT),
    OUTER: (30, 20, 130, 90),
    INNER: (50, 30, 100, 70),
    SIBLING: (0, 10, 100, 60),
}


def crop(name: str, of: str = WHOLE) -> dict[str, Any]:
    left, top, right, bottom = PLACES[f"$steps.{name}.crops"]
    x, y = PLACES[of][:2]
    return {
        "type": "roboflow_core/absolute_static_crop@v1",
        "name": name,
        "images": of,
        "x_center": (left + right) // 2 - x,
        "y_center": (top + bottom) // 2 - y,
        "width": right - left,
        "height": bottom - top,
    }


CROPS = [crop("outer"), crop("inner", OUTER), crop("sibling")]


def found(images: str) -> list[dict[str, Any]]:
    """Return the step `found`: boxes that say where they come from, as a core detector's do."""
    return [detect(images), segment(images=images, boxes=DETECTED, name="found")]
