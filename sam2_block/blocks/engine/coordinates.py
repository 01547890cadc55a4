"""Boxes in the pixel coordinates of the image to segment, whichever image they were detected on."""

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

# Columns with one or more points per row, `(..., 2)`, in the same coordinates as `xyxy`.
POINT_COLUMNS = (KEYPOINTS_XY_KEY_IN_SV_DETECTIONS, ORIENTED_BOX_COORDINATES)


def in_pixels_of(image: WorkflowImageData, detections: Any) -> Any:
    """Move detections to the pixel coordinates of an image, by the origins that the engine records.

    Rows of the same input image are shifted by the difference between their image's offset in it
    and this image's: boxes detected on a photo can be segmented on a crop of it, and the reverse.
    Rows without a recorded origin stay unchanged. So do rows of another input (such as predictions
    that are sent with the request) if their image had the size of this one.

    The engine does not record resizing or warping. Between an image and its resized or warped
    version rows stay unchanged; between an image and a crop whose sizes no longer match they are
    rejected.

    Args:
        image: The image to segment the rows on.
        detections: Detections; not modified. Any other object is returned as it is.

    Returns:
        The detections themselves if no row moves, otherwise a moved copy.

    Raises:
        PromptError: Rows were detected on an unrelated image, or one of the images was resized.
    """
    as_image(image.numpy_image)  # raises before its size is read below
    if not isinstance(detections, sv.Detections) or len(detections) == 0:
        return detections
    shifts = [_shift_xy(_Row(detections, index), image) for index in range(len(detections))]
    return _moved(detections, np.array(shifts)) if np.any(shifts) else detections


class _Row:
    """The recorded origin of one row; None where a column is missing or its value unknown.

    Sizes are (height, width) and offsets (x, y), as in the engine.
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
        self.offset = pair(ROOT_PARENT_COORDINATES_KEY)
        self.offset_in_parent = pair(PARENT_COORDINATES_KEY)


def _pair(column: str, row: int, value: Any) -> tuple[int, int] | None:
    """Read two whole numbers, which may be text; None if one of them is unknown."""
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
    """Return the (x, y) to add to the coordinates of a row."""
    size = (image.numpy_image.shape[0], image.numpy_image.shape[1])
    root = image.workflow_root_ancestor_metadata
    origin = root.origin_coordinates
    root_size = (origin.origin_height, origin.origin_width)
    own_offset = (origin.left_top_x, origin.left_top_y)
    if row.detection_id == image.parent_metadata.parent_id:
        # `dynamic_crop` returns the row of each crop in the crop's pixels, and names the crop after
        # the row, but leaves the larger image's offset in the row's columns.
        return 0, 0
    same_size = row.size in (None, size)
    if row.offset is None or row.root_id != root.parent_id:
        if not same_size:
            raise _mismatch_error(row, size, "the row does not record how the two are related")
        return 0, 0
    same_root_size = row.root_size in (None, root_size)
    if row.offset == own_offset and (same_size or not same_root_size):
        return 0, 0  # the same image, or a resized or warped version of the input
    if not same_root_size:
        if not same_size:
            raise _mismatch_error(row, size, _RESIZED)
        return 0, 0  # another input of the same name: rows that are sent back with a request
    offset = row.offset
    if row.size == row.root_size and row.offset != (0, 0):
        # `detections_list_rollup` moves rows to the parent and records the parent's size as the
        # root's, but leaves a crop's offset in the columns.
        left, top = row.offset_in_parent or row.offset
        offset = (row.offset[0] - left, row.offset[1] - top)
    shift = (offset[0] - own_offset[0], offset[1] - own_offset[1])
    if shift != (0, 0) and not (
        _fits(row.size, offset, root_size) and _fits(size, own_offset, root_size)
    ):
        raise _mismatch_error(row, size, _RESIZED)
    return shift


def _fits(
    size: tuple[int, int] | None, offset: tuple[int, int], root_size: tuple[int, int]
) -> bool:
    """Return whether an image of this size fits into the root at this offset."""
    return size is None or (
        offset[0] + size[1] <= root_size[1] and offset[1] + size[0] <= root_size[0]
    )


def _mismatch_error(row: _Row, size: tuple[int, int], reason: str) -> PromptError:
    source = "an image" if row.size is None else f"an image of {row.size[1]}x{row.size[0]} pixels"
    return PromptError(
        f"box {row.index} was detected on {source}, and this one has {size[1]}x{size[0]}; {reason}."
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
            column_values = moved.data[name]
            ragged = not isinstance(column_values, np.ndarray) or column_values.dtype == object
            moved.data[name] = object_column(rows) if ragged else np.array(rows)
    return moved


def _moved_points(column: str, row: int, points: Any, shift_xy: NDArray[Any]) -> Any:
    try:
        return points if points is None or len(points) == 0 else np.asarray(points) + shift_xy
    except (TypeError, ValueError) as error:
        raise PromptError(
            f"boxes: {column}, row {row}: expected points, (x, y) each; got {shown(points)}."
        ) from error
