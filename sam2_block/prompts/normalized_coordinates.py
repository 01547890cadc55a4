"""Coordinates that look normalized, from 0 to 1, where pixels are expected."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from sam2_block.messages.warn_once import warn_once
from sam2_block.prompts import Prompt

logger = logging.getLogger(__name__)

# In images up to this size a prompt may well lie within the first pixel.
SMALL_SIDE = 16


def warn_of_normalized_coordinates(
    prompts: Sequence[Prompt | None], image_hw: tuple[int, int]
) -> None:
    """Warn if all boxes, or all points, of an image lie within its first pixel.

    The coordinates are still read as pixels. Each warning is logged once per process, so that a
    stream does not repeat it.

    Args:
        prompts: Prompts of one image; None for an invalid box.
        image_hw: Height and width of the image.
    """
    if max(image_hw) <= SMALL_SIDE:
        return
    boxes = [prompt.box_xyxy for prompt in prompts if prompt and prompt.box_xyxy]
    points = [point for prompt in prompts if prompt for point in prompt.points]
    if boxes and all(max(box) <= 1 for box in boxes):
        _warn("boxes", image_hw)
    # Points with whole numbers are clicks in the corner.
    if (
        points
        and all(max(point.x, point.y) <= 1 for point in points)
        and any(point.x % 1 or point.y % 1 for point in points)
    ):
        _warn("points", image_hw)


def _warn(kind: str, image_hw: tuple[int, int]) -> None:
    key = ("normalized coordinates", kind)
    warn_once(logger, key, "%s", normalized_sentence(kind, image_hw))


def normalized_sentence(kind: str, image_hw: tuple[int, int]) -> str:
    """Return what is said of `boxes` or `points` that look normalized, without a full stop."""
    height, width = image_hw
    return (
        f"{kind}: all coordinates are from 0 to 1, and are read as pixels of an image {width} wide"
        f" and {height} high; if they are normalized, multiply them by its width and height"
    )
