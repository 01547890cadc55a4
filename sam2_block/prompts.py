"""Prompts for SAM 2: one for each object, made from a box or from points.

Coordinates are absolute pixels of the image, x to the right and y down, with (0, 0) the upper left
corner of the upper left pixel.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sam2_block.errors import PromptError
from sam2_block.short_repr import short_repr

InvalidBoxes = Literal["empty", "error", "drop"]


class LabeledPoint(NamedTuple):
    """A point on the object (`positive`) or beside it."""

    x: float
    y: float
    positive: bool = True


@dataclass(frozen=True)
class Prompt:
    """One object: a box, or points, or both.

    Attributes:
        box_xyxy: Left, top, right and bottom edge, inside the image; None without a box.
        points: Points inside the image.
    """

    box_xyxy: tuple[float, float, float, float] | None = None
    points: tuple[LabeledPoint, ...] = ()

    def __post_init__(self) -> None:
        if self.box_xyxy is None and not self.points:
            # SAM 2 predicts a mask of something for an empty prompt.
            raise PromptError("a prompt needs a box or at least one point; got neither.")

    @property
    def extent_xyxy(self) -> tuple[float, float, float, float]:
        """The box, or without one the smallest box around the points on the object."""
        if self.box_xyxy is not None:
            return self.box_xyxy
        points = [point for point in self.points if point.positive] or self.points
        xs, ys = [point.x for point in points], [point.y for point in points]
        return (min(xs), min(ys), max(xs), max(ys))


def prompts_from_boxes(
    boxes_xyxy: NDArray[Any],
    image_hw: tuple[int, int],
    invalid_boxes: InvalidBoxes,
    kept: Iterable[int] | None = None,
) -> list[Prompt | None]:
    """Clip boxes to the image and make a prompt of each.

    Args:
        boxes_xyxy: `(N, 4)`, left, top, right, bottom.
        image_hw: Height and width of the image.
        invalid_boxes: What to do with a box that has no area inside the image, or a coordinate
            that is not a finite number of 32 bits: `empty` and `drop` give None in its place,
            `error` raises.
        kept: Indices of the boxes to take, in order; None for all.

    Returns:
        One prompt a box taken, in order; None where the box is invalid.

    Raises:
        PromptError: A box is invalid, and that is an error; the message names the box by its index
            among all boxes.
    """
    boxes = np.asarray(boxes_xyxy, dtype=np.float64).reshape(-1, 4)
    prompts: list[Prompt | None] = []
    for index in range(len(boxes)) if kept is None else kept:
        left, top, right, bottom = clipped_box(boxes[index], image_hw)
        if right > left and bottom > top:
            prompts.append(Prompt(box_xyxy=(left, top, right, bottom)))
        elif invalid_boxes == "error":
            raise _invalid_box(index, boxes[index], image_hw)
        else:
            prompts.append(None)
    return prompts


def clipped_box(
    box_xyxy: NDArray[np.float64], image_hw: tuple[int, int]
) -> tuple[float, float, float, float]:
    """Return the part of a box inside the image; a point inside it where there is none.

    That point is the upper left corner of a box whose edges are in the wrong order or lie outside,
    and that of the image for a box that is not finite.
    """
    if not _is_finite(box_xyxy):
        return (0.0, 0.0, 0.0, 0.0)
    height, width = image_hw
    left, right = np.clip(box_xyxy[[0, 2]], 0, width).tolist()
    top, bottom = np.clip(box_xyxy[[1, 3]], 0, height).tolist()
    return (left, top, max(left, right), max(top, bottom))


def _is_finite(box_xyxy: NDArray[np.float64]) -> bool:
    """Tell whether float32, which rows hold their boxes in, has a number for every edge."""
    return bool((np.abs(box_xyxy) <= np.finfo(np.float32).max).all())


def _invalid_box(
    index: int, box_xyxy: NDArray[np.float64], image_hw: tuple[int, int]
) -> PromptError:
    height, width = image_hw
    edges = "[" + ", ".join(f"{edge:g}" for edge in box_xyxy) + "]"
    problem = (
        f"has no area inside the image ({width} wide, {height} high);"
        " expected left < right and top < bottom."
        if _is_finite(box_xyxy)
        else "has a coordinate that is not a finite number of 32 bits."
    )
    return PromptError(
        f"box {index}: {edges} {problem} Set invalid_boxes to 'empty' to get an empty mask"
        " instead, or to 'drop' to leave the box out."
    )


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
                    f"{_place(object_index, point_index)}: ({point.x:g}, {point.y:g}) lies outside"
                    f" the image ({width} wide, {height} high); expected absolute pixels,"
                    f" 0 <= x < {width} and 0 <= y < {height}."
                )
        prompts.append(Prompt(points=tuple(points)))
    return prompts


def parse_point_objects(value: Any) -> list[list[LabeledPoint]]:
    """Read one flat list of points (one object) or a list of such lists (one object each).

    A point is a dict `{x, y, positive}`, `positive` being optional, or a sequence
    `(x, y[, positive])`.

    Returns:
        One list of points for each object; none for None or an empty list.

    Raises:
        PromptError: A point or a list is malformed; the message names it by its index.
    """
    value = None if value is None else _as_list(points_as_list(value), depth=3)
    if not value:
        return []
    if not any(isinstance(item, (dict, list)) for item in value):
        raise PromptError(
            f"points: expected a list of points; got {short_repr(value)}. One point is a list in"
            " the list: [[x, y]]."
        )
    if not any(_is_point_list(item) for item in value):
        value = [value]
    objects = []
    for object_index, points in enumerate(value):
        if not _is_point_list(points):
            raise PromptError(
                f"points: object {object_index}: expected a list of points, as its neighbours are;"
                f" got {short_repr(points)}. Give one flat list for one object, or one list an"
                " object."
            )
        if len(points) == 0:
            raise PromptError(f"points: object {object_index}: expected at least one point.")
        objects.append(
            [_parse_point(point, _place(object_index, i)) for i, point in enumerate(points)]
        )
    return objects


def points_as_list(value: Any) -> list[Any]:
    """Return the outer list of points, or of lists of points; what is in it is not looked at.

    Raises:
        PromptError: It is no list, tuple or array.
    """
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if not isinstance(value, (list, tuple)):
        raise PromptError(
            "points: expected a list of points, such as"
            ' [{"x": 30, "y": 20, "positive": true}], or a list of such lists; got'
            f" {short_repr(value)}. One point is a list of one, and JSON text has to be parsed."
        )
    return list(value)


def _parse_point(value: Any, place: str) -> LabeledPoint:
    if isinstance(value, dict):
        missing = {"x", "y"} - set(value)
        unknown = set(value) - {"x", "y", "positive"}
        if missing or unknown:
            hint = " For `label` write `positive`: true for 1, false for 0." * ("label" in unknown)
            raise PromptError(
                f"{place}: expected x, y and positive, and nothing more;"
                f" got {short_repr(value)}.{hint}"
            )
        x, y, positive = value["x"], value["y"], value.get("positive", True)
    elif isinstance(value, list) and len(value) in (2, 3):
        x, y = value[0], value[1]
        positive = value[2] if len(value) == 3 else True
    else:
        raise PromptError(
            f"{place}: expected {{x, y, positive}} or (x, y[, positive]); got {short_repr(value)}."
        )
    if not (
        isinstance(positive, (bool, np.bool_)) or (_is_number(positive) and positive in (0, 1))
    ):
        raise PromptError(
            f"{place}: expected positive to be true or false; got {short_repr(positive)}."
        )
    return LabeledPoint(_coordinate(x, "x", place), _coordinate(y, "y", place), bool(positive))


def _coordinate(value: Any, name: str, place: str) -> float:
    try:
        coordinate = float(value) if _is_number(value) else math.nan
    except OverflowError:  # a whole number beyond what a float can hold
        coordinate = math.inf
    if not math.isfinite(coordinate):
        raise PromptError(
            f"{place}: expected {name} to be a finite number; got {short_repr(value)}."
        )
    return coordinate


def _place(object_index: int, point_index: int) -> str:
    return f"points: object {object_index}, point {point_index}"


def _as_list(value: Any, depth: int) -> Any:
    """Return tuples and arrays as lists, as deep as points go, and everything else as it is."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, (list, tuple)) and depth > 0:
        return [_as_list(item, depth - 1) for item in value]
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def _is_point_list(value: Any) -> bool:
    """Tell a list of points from a point: a point holds numbers, a list holds points."""
    return isinstance(value, list) and (value == [] or isinstance(value[0], (dict, list)))
