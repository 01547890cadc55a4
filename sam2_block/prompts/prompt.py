"""One prompt for one object.

Coordinates are absolute pixels of the image, x to the right and y down, with (0, 0) the upper left
corner of the upper left pixel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from sam2_block.errors import PromptError


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
            # For an empty prompt SAM 2 would predict the mask of an arbitrary object.
            raise PromptError("a prompt needs a box or at least one point; got neither.")

    @property
    def extent_xyxy(self) -> tuple[float, float, float, float]:
        """The box; without one, the smallest box around the positive points, or else all points."""
        if self.box_xyxy is not None:
            return self.box_xyxy
        points = [point for point in self.points if point.positive] or self.points
        xs, ys = [point.x for point in points], [point.y for point in points]
        return (min(xs), min(ys), max(xs), max(ys))
