"""Prompts from boxes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam2_block.errors import PromptError
from sam2_block.prompts.prompt import Prompt
from sam2_block.segment_options import InvalidBoxes


def prompts_from_boxes(
    boxes_xyxy: NDArray[Any],
    image_hw: tuple[int, int],
    invalid_boxes: InvalidBoxes,
    indices: Iterable[int] | None = None,
) -> list[Prompt | None]:
    """Clip boxes to the image and make a prompt of each.

    Args:
        boxes_xyxy: `(N, 4)`, left, top, right, bottom.
        image_hw: Height and width of the image.
        invalid_boxes: What to do with a box that has no area inside the image, or a coordinate
            that is not a finite number of 32 bits: `empty` and `drop` give None for it, `error`
            raises.
        indices: Indices of the boxes to use, in order; None for all.

    Returns:
        One prompt per box used, in order; None for an invalid box.

    Raises:
        PromptError: A box is invalid and `invalid_boxes` is `error`; the message names the box by
            its index among all boxes.
    """
    boxes = np.asarray(boxes_xyxy, dtype=np.float64).reshape(-1, 4)
    prompts: list[Prompt | None] = []
    for index in range(len(boxes)) if indices is None else indices:
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
    """Return the part of a box inside the image; without one, a box inside it that has no area.

    The latter starts at the clipped upper left corner of a box whose edges are in the wrong order
    or lie outside. For a box that is not finite it is the upper left corner of the image.
    """
    if not _is_finite(box_xyxy):
        return (0.0, 0.0, 0.0, 0.0)
    height, width = image_hw
    left, right = np.clip(box_xyxy[[0, 2]], 0, width).tolist()
    top, bottom = np.clip(box_xyxy[[1, 3]], 0, height).tolist()
    return (left, top, max(left, right), max(top, bottom))


def _is_finite(box_xyxy: NDArray[np.float64]) -> bool:
    """Return whether every edge is finite in float32, the type of boxes in rows."""
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
