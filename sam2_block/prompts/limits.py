"""Limits on the boxes and points of one image, checked before these are parsed."""

from __future__ import annotations

from typing import Any

import numpy as np

from sam2_block.errors import PromptError
from sam2_block.settings import LimitSettings


def check_prompt_count(limits: LimitSettings, boxes: int, points: Any) -> None:
    """Refuse more boxes and points than the limits permit for one image.

    The cost of the check is bounded by the limits, whatever the length of the lists.

    Args:
        limits: The operator's limits.
        boxes: Number of boxes.
        points: As `sam2_block.prompts.parse_point_objects` takes them; malformed points pass,
            because parsing rejects them.

    Raises:
        PromptError: There are more than the limits permit.
    """
    total = boxes
    # Every item is a point or holds points.
    _check_total(limits, total + _length(points))
    if _length(points) and not any(map(_is_object, points)):
        _check_object(limits, 0, _length(points))
        return
    for index, item in enumerate(points if _length(points) else ()):
        count = _length(item) if _is_object(item) else 1
        _check_object(limits, index, count)
        total += count
        _check_total(limits, total)


def _check_total(limits: LimitSettings, count: int) -> None:
    if count > limits.max_prompts:
        raise PromptError(
            f"more than {limits.max_prompts} boxes and points for one image, which is the limit"
            " (SAM2_BLOCK_MAX_PROMPTS). Spread them over several requests, or have the operator"
            " raise the limit."
        )


def _check_object(limits: LimitSettings, index: int, count: int) -> None:
    if count > limits.max_points:
        raise PromptError(
            f"points: object {index}: {count} points; the limit is {limits.max_points} for one"
            " object (SAM2_BLOCK_MAX_POINTS). Give fewer points, or have the operator raise the"
            " limit."
        )


def _length(value: Any) -> int:
    is_sequence = isinstance(value, (list, tuple)) or (
        isinstance(value, np.ndarray) and value.ndim > 0
    )
    return len(value) if is_sequence else 0


def _is_object(item: Any) -> bool:
    """Return whether an item is a list of points; a point is a list of numbers, or a dict."""
    return _length(item) > 0 and (isinstance(item[0], dict) or _length(item[0]) > 0)
