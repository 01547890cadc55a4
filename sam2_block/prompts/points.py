"""Prompts from points."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sam2_block.errors import PromptError
from sam2_block.messages.short_repr import short_repr
from sam2_block.prompts.prompt import LabeledPoint, Prompt

if TYPE_CHECKING:
    from typing import TypeAlias

Point: TypeAlias = "tuple[float, float] | tuple[float, float, bool] | Mapping[str, Any]"
"""`(x, y)`, `(x, y, positive)` or `{"x", "y", "positive"}`, in pixels."""

PointsInput: TypeAlias = "Sequence[Point] | Sequence[Sequence[Point]] | NDArray[Any] | None"
"""The points of one object, or of one object per list; see `parse_point_objects`."""


def prompts_from_points(objects: Any, image_hw: tuple[int, int]) -> list[Prompt]:
    """Make a prompt of each point list.

    Args:
        objects: As `parse_point_objects` takes them.
        image_hw: Height and width of the image.

    Raises:
        PromptError: The points are malformed, or one lies outside the image.
    """
    height, width = image_hw
    prompts = []
    for object_index, points in enumerate(parse_point_objects(objects)):
        for point_index, point in enumerate(points):
            if not (0 <= point.x < width and 0 <= point.y < height):
                raise PromptError(
                    f"{_location(object_index, point_index)}: ({point.x:g}, {point.y:g}) lies"
                    f" outside the image ({width} wide, {height} high); expected absolute pixels,"
                    f" 0 <= x < {width} and 0 <= y < {height}."
                )
        prompts.append(Prompt(points=tuple(points)))
    return prompts


def parse_point_objects(value: Any) -> list[list[LabeledPoint]]:
    """Read one flat list of points (one object) or a list of such lists (one object each).

    A point is a dict `{x, y, positive}`, `positive` being optional, or a sequence
    `(x, y[, positive])`.

    Returns:
        One list of points for each object; an empty list for None or an empty value.

    Raises:
        PromptError: A point or a list is malformed; the message names it by its index.
    """
    value = None if value is None else _as_list(points_as_list(value), depth=3)
    if not value:
        return []
    if not any(isinstance(item, (dict, list)) for item in value):
        raise PromptError(
            f"points: expected a list of points; got {short_repr(value)}. Put a single point in a"
            " list: [[x, y]]."
        )
    if not any(_is_point_list(item) for item in value):
        value = [value]
    objects = []
    for object_index, points in enumerate(value):
        if not _is_point_list(points):
            raise PromptError(
                f"points: object {object_index}: expected a list of points, like the other objects;"
                f" got {short_repr(points)}. Give one flat list for one object, or one list per"
                " object."
            )
        if len(points) == 0:
            raise PromptError(f"points: object {object_index}: expected at least one point.")
        objects.append(
            [_parse_point(point, _location(object_index, i)) for i, point in enumerate(points)]
        )
    return objects


def points_as_list(value: Any) -> list[Any]:
    """Return the outer list of points, or of lists of points; its items are not checked.

    Raises:
        PromptError: The value is not a list, tuple or array.
    """
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if not isinstance(value, (list, tuple)):
        raise PromptError(
            "points: expected a list of points, such as"
            ' [{"x": 30, "y": 20, "positive": true}], or a list of such lists; got'
            f" {short_repr(value)}. Put a single point in a list, and parse JSON text first."
        )
    return list(value)


def _parse_point(value: Any, location: str) -> LabeledPoint:
    if isinstance(value, dict):
        missing = {"x", "y"} - set(value)
        unknown = set(value) - {"x", "y", "positive"}
        if missing or unknown:
            hint = " For `label` write `positive`: true for 1, false for 0." * ("label" in unknown)
            raise PromptError(
                f"{location}: expected x, y and positive, and nothing more;"
                f" got {short_repr(value)}.{hint}"
            )
        x, y, positive = value["x"], value["y"], value.get("positive", True)
    elif isinstance(value, list) and len(value) in (2, 3):
        x, y = value[0], value[1]
        positive = value[2] if len(value) == 3 else True
    else:
        raise PromptError(
            f"{location}: expected {{x, y, positive}} or (x, y[, positive]);"
            f" got {short_repr(value)}."
        )
    if not (
        isinstance(positive, (bool, np.bool_)) or (_is_number(positive) and positive in (0, 1))
    ):
        raise PromptError(
            f"{location}: expected positive to be true or false; got {short_repr(positive)}."
        )
    x, y = _coordinate(x, "x", location), _coordinate(y, "y", location)
    return LabeledPoint(x, y, bool(positive))


def _coordinate(value: Any, name: str, location: str) -> float:
    try:
        coordinate = float(value) if _is_number(value) else math.nan
    except OverflowError:  # an integer too large for a float
        coordinate = math.inf
    if not math.isfinite(coordinate):
        raise PromptError(
            f"{location}: expected {name} to be a finite number; got {short_repr(value)}."
        )
    return coordinate


def _location(object_index: int, point_index: int) -> str:
    return f"points: object {object_index}, point {point_index}"


def _as_list(value: Any, depth: int) -> Any:
    """Convert tuples and arrays to lists, `depth` levels deep; return other values unchanged."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, (list, tuple)) and depth > 0:
        return [_as_list(item, depth - 1) for item in value]
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def _is_point_list(value: Any) -> bool:
    """Return whether a value is a list of points; a point is a list of numbers, or a dict."""
    return isinstance(value, list) and (value == [] or isinstance(value[0], (dict, list)))
