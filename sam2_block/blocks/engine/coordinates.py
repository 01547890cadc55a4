"""Boxes in the pixels of the image that they are to be segmented on, wherever they were found."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import supervision as sv
from numpy.typing import NDArray
from roboflow_workflows.execution_engine.constants import (
    DETECTION_ID_KEY,
    IMAGE_DIMENSIONS_KEY,
    KEYPOINTS_XY_KEY_IN_SV_DETECTIONS,
    PARENT_COORDINATES_KEY,
    ROOT_PARENT_COORDINATES_KEY,
    ROOT_PARENT_DIMENSIONS_KEY,
    ROOT_PARENT_ID_KEY,
)
from roboflow_workflows.execution_engine.entities.base import WorkflowImageData
from supervision.config import ORIENTED_BOX_COORDINATES

from sam2_block.errors import PromptError
from sam2_block.images import as_image
from sam2_block.rows.detections import object_column
from sam2_block.rows.row_checks import shown

_RESIZED = "one of them was resized after it was cut from the input image"

# Columns with a point or several in each row, `(..., 2)`, in the same pixels as `xyxy`.
POINT_COLUMNS = (KEYPOINTS_XY_KEY_IN_SV_DETECTIONS, ORIENTED_BOX_COORDINATES)


def in_pixels_of(image: WorkflowImageData, detections: Any) -> Any:
    """Move detections onto an image by what the engine keeps of where both came from.

    Rows of the same input image are moved by the difference between their place in it and the
    image's: so boxes found on a photo can be segmented on a crop of it, and the reverse. Rows that
    say nothing of where they come from are taken as they are, and so are those of another input
    (such as predictions that come in with the request) if their image had the size of this one.

    What resizing and warping do is not in what the engine keeps. Rows are taken as they are across
    these on one image, and refused where an image and a crop no longer fit together.

    Args:
        image: The image that the rows are to be segmented on.
        detections: Detections, of which nothing is changed; anything else is given back.

    Returns:
        The detections themselves where nothing is to be moved, or else moved ones.

    Raises:
        PromptError: Rows were found on an image that does not belong to this one, or was resized.
    """
    as_image(image.numpy_image)  # whose size is read below
    if not isinstance(detections, sv.Detections) or len(detections) == 0:
        return detections
    shifts = [_shift_xy(_Row(detections, index), image) for index in range(len(detections))]
    return _moved(detections, np.array(shifts)) if np.any(shifts) else detections


class _Row:
    """What the columns of one row say of where it was found; None where they say nothing.

    Sizes are (height, width) and places (x, y), as the engine has them.
    """

    def __init__(self, detections: sv.Detections, index: int) -> None:
        def pair(key: str) -> tuple[int, int] | None:
            values = detections.data.get(key)
            return None if values is None else _pair(key, index, values[index])

        def text(key: str) -> str | None:
            values = detections.data.get(key)
            return None if values is None else str(values[index])

        self.index = index
        self.detection_id = text(DETECTION_ID_KEY)
        self.root_id = text(ROOT_PARENT_ID_KEY)
        self.size = pair(IMAGE_DIMENSIONS_KEY)
        self.root_size = pair(ROOT_PARENT_DIMENSIONS_KEY)
        self.place = pair(ROOT_PARENT_COORDINATES_KEY)
        self.place_in_parent = pair(PARENT_COORDINATES_KEY)


def _pair(column: str, row: int, value: Any) -> tuple[int, int] | None:
    """Read two whole numbers, which may be written as text; None where one of them is unknown."""
    try:
        first, second = value
        return None if first is None or second is None else (int(first), int(second))
    except (TypeError, ValueError, OverflowError) as error:
        if value is None:
            return None
        raise PromptError(
            f"boxes: {column}, row {row}: expected two whole numbers, or None; got {shown(value)}."
        ) from error


def _shift_xy(row: _Row, image: WorkflowImageData) -> tuple[int, int]:
    """Return what is to be added to the coordinates of a row."""
    size = (image.numpy_image.shape[0], image.numpy_image.shape[1])
    root = image.workflow_root_ancestor_metadata
    origin = root.origin_coordinates
    root_size = (origin.origin_height, origin.origin_width)
    own_place = (origin.left_top_x, origin.left_top_y)
    if row.detection_id == image.parent_metadata.parent_id:
        # `dynamic_crop` gives the row of each crop in the crop's pixels, and names the crop after
        # it, but leaves the place of the larger image beside it.
        return 0, 0
    same_size = row.size in (None, size)
    if row.place is None or row.root_id != root.parent_id:
        if not same_size:
            raise _refusal(row, size, "nothing says how the two belong together")
        return 0, 0
    same_root_size = row.root_size in (None, root_size)
    if row.place == own_place and (same_size or not same_root_size):
        return 0, 0  # the same image, or what a resize or a warp made of the input
    if not same_root_size:
        if not same_size:
            raise _refusal(row, size, _RESIZED)
        return 0, 0  # another input of the same name: rows that come back with a request
    place = row.place
    if row.size == row.root_size and row.place != (0, 0):
        # `detections_list_rollup` moves rows to the parent, of whose size it takes the root to be,
        # and leaves the place of a crop beside them.
        left, top = row.place_in_parent or row.place
        place = (row.place[0] - left, row.place[1] - top)
    shift = (place[0] - own_place[0], place[1] - own_place[1])
    if shift != (0, 0) and not (
        _fits(row.size, place, root_size) and _fits(size, own_place, root_size)
    ):
        raise _refusal(row, size, _RESIZED)
    return shift


def _fits(size: tuple[int, int] | None, place: tuple[int, int], root_size: tuple[int, int]) -> bool:
    """Tell whether an image of this size can lie at this place of the root."""
    return size is None or (
        place[0] + size[1] <= root_size[1] and place[1] + size[0] <= root_size[0]
    )


def _refusal(row: _Row, size: tuple[int, int], reason: str) -> PromptError:
    found_on = "an image" if row.size is None else f"an image of {row.size[1]}x{row.size[0]} pixels"
    return PromptError(
        f"box {row.index} was found on {found_on}, and this one has {size[1]}x{size[0]}; {reason}."
        " Connect predictions that were made on this image, or on the input image that it was cut"
        " from."
    )


def _moved(detections: sv.Detections, shift_xy: NDArray[Any]) -> sv.Detections:
    moved = copy.copy(detections)
    moved.xyxy = detections.xyxy + np.tile(shift_xy, 2)
    moved.data = dict(detections.data)
    for name in POINT_COLUMNS:
        if name in moved.data:
            rows = [
                _moved_points(name, row, *pair)
                for row, pair in enumerate(zip(moved.data[name], shift_xy, strict=True))
            ]
            kept = moved.data[name]
            ragged = not isinstance(kept, np.ndarray) or kept.dtype == object
            moved.data[name] = object_column(rows) if ragged else np.array(rows)
    return moved


def _moved_points(column: str, row: int, points: Any, shift_xy: NDArray[Any]) -> Any:
    try:
        return points if points is None or len(points) == 0 else np.asarray(points) + shift_xy
    except (TypeError, ValueError) as error:
        raise PromptError(
            f"boxes: {column}, row {row}: expected points, (x, y) each; got {shown(points)}."
        ) from error
