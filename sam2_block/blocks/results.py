"""Detections as the engine's downstream blocks and serialisers expect them."""

from __future__ import annotations

import numpy as np
import supervision as sv
from roboflow_workflows.core_steps.common.utils import attach_parents_coordinates_to_sv_detections
from roboflow_workflows.execution_engine.constants import IMAGE_DIMENSIONS_KEY, PREDICTION_TYPE_KEY
from roboflow_workflows.execution_engine.entities.base import WorkflowImageData

from sam2_block.blocks.kinds import rle_column
from sam2_block.detections import RLE_MASK

PREDICTION_TYPE = "instance-segmentation"


def complete_detections(rows: sv.Detections, image: WorkflowImageData) -> sv.Detections:
    """Add what ties rows to their image: its size, its place in its parents, and the RLE masks.

    Where the image is a crop, no RLE is added: the engine moves boxes and dense masks to the root
    image's coordinates, but would leave the RLE on the crop's grid. This block's own answer is
    written from the masks (`blocks.kinds`); blocks that pass its rows on have the RLE to write, or
    else one polygon a mask.

    Args:
        rows: Segmented rows of the image, changed in place.
        image: The image they were found on.
    """
    height, width = rows.mask.shape[1:]
    rows.data[IMAGE_DIMENSIONS_KEY] = np.array([[height, width]] * len(rows)).reshape(-1, 2)
    rows.data[PREDICTION_TYPE_KEY] = np.array([PREDICTION_TYPE] * len(rows), dtype=np.str_)
    if len(rows) == 0:
        # The serialisers read the size from the rows, and from here where there are none.
        rows.metadata[IMAGE_DIMENSIONS_KEY] = [height, width]
    if _is_root(image):
        rows.data[RLE_MASK] = rle_column(rows, in_boxes=True)
    completed: sv.Detections = attach_parents_coordinates_to_sv_detections(rows, image)
    return completed


def _is_root(image: WorkflowImageData) -> bool:
    root = image.workflow_root_ancestor_metadata
    return bool(image.parent_metadata.parent_id == root.parent_id)
