"""Prompts on the command line: boxes, points, and files of boxes."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sam2_block.errors import PromptError
from sam2_block.messages.short_repr import short_repr

if TYPE_CHECKING:
    import supervision as sv

FORMS = (
    "[left, top, right, bottom] in pixels, or an object with `xyxy`, or with `x`, `y` (the center),"
    " `width` and `height`, and optionally `class`, `class_id` and `confidence`"
)
_WRAPPERS = ("predictions", "detections", "boxes")


def box_argument(text: str) -> tuple[float, ...]:
    """Read `LEFT,TOP,RIGHT,BOTTOM`, for `argparse`."""
    numbers = _numbers(text)
    if len(numbers) != 4 or not (numbers[0] < numbers[2] and numbers[1] < numbers[3]):
        raise argparse.ArgumentTypeError(
            f"expected LEFT,TOP,RIGHT,BOTTOM in pixels, with LEFT < RIGHT and TOP < BOTTOM;"
            f" got {text!r}"
        )
    return numbers


def point_argument(text: str) -> tuple[float, ...]:
    """Read `X,Y`, for `argparse`."""
    numbers = _numbers(text)
    if len(numbers) != 2:
        raise argparse.ArgumentTypeError(f"expected X,Y in pixels; got {text!r}")
    return numbers


def _numbers(text: str) -> tuple[float, ...]:
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        return ()
    return numbers if all(map(math.isfinite, numbers)) else ()


@dataclass(frozen=True)
class BoxesFile:
    """Boxes for all images, or for each image by its file name.

    Attributes:
        name: The file, as the command line names it.
        content: A list of boxes, or a mapping from file names to lists of boxes.
    """

    name: str
    content: Any

    @classmethod
    def read(cls, argument: str) -> BoxesFile:
        """Read a JSON file, or stdin where the argument is `-`.

        Raises:
            PromptError: It cannot be read, or holds no boxes.
        """
        try:
            text = sys.stdin.read() if argument == "-" else Path(argument).read_text("utf-8-sig")
            content = json.loads(text)
        except OSError as error:
            raise PromptError(f"--boxes {argument}: cannot be read ({error.strerror}).") from error
        except (ValueError, RecursionError) as error:
            raise PromptError(f"--boxes {argument}: expected JSON; {error}.") from error
        return cls(argument, content)

    def items(self, path: Path) -> list[Any]:
        """Return the boxes of one image, as the file has them.

        Raises:
            PromptError: The file holds none for it, or one that cannot be read.
        """
        content = self.content
        if isinstance(content, dict) and not set(_WRAPPERS) & set(content):
            names = [name for name in (str(path), path.name, path.stem) if name in content]
            if not names:
                raise PromptError(
                    f"--boxes {self.name}: has no boxes for {path.name}; it has"
                    f" {short_repr(list(content))}."
                )
            content = content[names[0]]
        items = _unwrapped(content)
        if isinstance(items, list) and len(items) == 4 and all(map(_is_number, items)):
            items = [items]
        if not isinstance(items, list):
            raise PromptError(
                f"--boxes {self.name}: expected a list of boxes; got {short_repr(items)}."
            )
        return items


def _unwrapped(content: Any) -> Any:
    """Return the list inside an output of a workflow or a detector."""
    for _ in _WRAPPERS:
        if isinstance(content, dict):
            keys = [key for key in _WRAPPERS if key in content]
            content = content[keys[0]] if keys else [content]
    return content


def detections_of_items(name: str, items: list[Any]) -> sv.Detections:
    """Return boxes in any of `FORMS` as detections; classes only where a box has one.

    Raises:
        PromptError: One of them cannot be read.
    """
    import numpy as np
    import supervision as sv

    fields = [item if isinstance(item, Mapping) else {} for item in items]
    classes = [one.get("class", one.get("class_name")) for one in fields]
    class_ids = [one.get("class_id") for one in fields]
    confidences = [one.get("confidence", math.nan) for one in fields]
    boxes = [_box_xyxy(name, index, item) for index, item in enumerate(items)]
    names = np.array(["object" if one is None else str(one) for one in classes], dtype=np.str_)
    try:
        return sv.Detections(
            xyxy=np.array(boxes, dtype=np.float32).reshape(-1, 4),
            confidence=np.array(confidences, dtype=np.float32),
            class_id=None if None in class_ids else np.array(class_ids, dtype=int),
            data={} if all(one is None for one in classes) else {"class_name": names},
        )
    except (TypeError, ValueError) as error:
        raise PromptError(
            f"--boxes {name}: expected whole numbers for `class_id` and numbers for"
            f" `confidence`; {error}."
        ) from error


def _box_xyxy(name: str, index: int, item: Any) -> Sequence[float]:
    if isinstance(item, Mapping) and {"x", "y", "width", "height"} <= set(item):
        center = [item[key] for key in ("x", "y", "width", "height")]
        if all(map(_is_number, center)):
            x, y, width, height = center
            return x - width / 2, y - height / 2, x + width / 2, y + height / 2
    box = item.get("xyxy", item.get("box")) if isinstance(item, Mapping) else item
    if isinstance(box, list) and len(box) == 4 and all(map(_is_number, box)):
        return box
    raise PromptError(f"--boxes {name}: box {index}: expected {FORMS}; got {short_repr(item)}.")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
