"""Boxes in the pixels of the image that they are to be segmented on, wherever they were found."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import supervision as sv
from numpy.typing import NDArray
from roboflow_workflows.execution_engine.constants import (
    IMAGE_DIMENSIONS_KEY,
    KEYPOINTS_XY_KEY_IN_SV_DETECTIONS,
    ROOT_PARENT_COORDINATES_KEY,
    ROOT_PARENT_DIMENSIONS_KEY,
    ROOT_PARENT_ID_KEY,
)
from roboflow_workflows.execution_engine.entities.base import WorkflowImageData
from supervision.config import ORIENTED_BOX_COORDINATES

from sam2_block.errors import PromptError

# Columns with a point or several in each row, `(..., 2)`, in the same pixels as `xyxy`.
POINT_COLUMNS = (KEYPOINTS_XY_KEY_IN_SV_DETECTIONS, ORIENTED_BOX_COORDINATES)


def in_pixels_of(image: WorkflowImageData, detections: Any) -> Any:
    """Move detections onto an image by what the engine keeps of where both came from.

    Rows of the same input image are moved by the difference between their place in it and the
    image's: so boxes found on a photo can be segmented on a crop of it, and the reverse. Rows that
    say nothing of where they come from are taken as they are, and so are those of another input
    (such as predictions that come in with the request) if their image had the size of this one.

    Resizing and warping leave no trace in what the engine keeps; across these, nothing is moved.

    Args:
        image: The image that the rows are to be segmented on.
        detections: Detections, of which nothing is changed; anything else is given back.

    Returns:
        The detections themselves where nothing is to be moved, or else moved ones.

    Raises:
        PromptError: Rows were found on an image of another size that is not known to be related.
    """
    if not isinstance(detections, sv.Detections) or len(detections) == 0:
        return detections
    root = image.workflow_root_ancestor_metadata
    root_ids = detections.data.get(ROOT_PARENT_ID_KEY)
    origins = detections.data.get(ROOT_PARENT_COORDINATES_KEY)
    if root_ids is None or origins is None:
        related = np.zeros(len(detections), dtype=np.bool_)
    else:
        related = np.asarray(root_ids) == root.parent_id
    _check_sizes(detections, ~related, image)
    if not related.any():
        return detections
    origin = (root.origin_coordinates.left_top_x, root.origin_coordinates.left_top_y)
    found_at = np.where(_on_whole_input(detections)[:, None], 0, np.asarray(origins))
    shift_xy = np.where(related[:, None], found_at - origin, 0)
    return _moved(detections, shift_xy) if shift_xy.any() else detections


def _on_whole_input(detections: sv.Detections) -> NDArray[np.bool_]:
    """Tell which rows are of an image as large as its root, which can only be the root itself.

    `detections_list_rollup` gives rows in the root's pixels that still have the place of a crop.
    """
    sizes = detections.data.get(IMAGE_DIMENSIONS_KEY)
    root_sizes = detections.data.get(ROOT_PARENT_DIMENSIONS_KEY)
    if sizes is None or root_sizes is None:
        return np.zeros(len(detections), dtype=np.bool_)
    whole: NDArray[np.bool_] = np.all(np.asarray(sizes) == np.asarray(root_sizes), axis=1)
    return whole


def _check_sizes(
    detections: sv.Detections, rows: NDArray[np.bool_], image: WorkflowImageData
) -> None:
    """Refuse those of the rows that were found on an image of another size."""
    sizes = detections.data.get(IMAGE_DIMENSIONS_KEY)
    if sizes is None:
        return
    height, width = image.numpy_image.shape[:2]
    for index in np.flatnonzero(rows):
        if None not in list(sizes[index]) and list(sizes[index]) != [height, width]:
            raise PromptError(
                f"box {index} was found on an image of {int(sizes[index][1])}x"
                f"{int(sizes[index][0])} pixels, and this one has {width}x{height}; nothing says"
                " how the two belong together. Connect predictions that were made on this image,"
                " or on the input image that it was cut from."
            )


def _moved(detections: sv.Detections, shift_xy: NDArray[Any]) -> sv.Detections:
    moved = copy.copy(detections)
    moved.xyxy = detections.xyxy + np.tile(shift_xy, 2)
    moved.data = dict(detections.data)
    for name in POINT_COLUMNS:
        if name in moved.data:
            rows = [
                np.asarray(points) + shift if len(points) else points
                for points, shift in zip(moved.data[name], shift_xy, strict=True)
            ]
            moved.data[name] = _as_column(rows, moved.data[name])
    return moved


def _as_column(rows: list[Any], like: Any) -> NDArray[Any]:
    if np.asarray(like).dtype != object:
        return np.array(rows)
    column = np.empty(len(rows), dtype=object)
    column[:] = rows
    return column
