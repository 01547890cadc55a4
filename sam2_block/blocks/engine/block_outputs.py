"""Detections as the engine's downstream blocks and serialisers expect them."""

from __future__ import annotations

import numpy as np
import supervision as sv
from roboflow_workflows.core_steps.common.utils import attach_parents_coordinates_to_sv_detections
from roboflow_workflows.execution_engine.constants import IMAGE_DIMENSIONS_KEY, PREDICTION_TYPE_KEY
from roboflow_workflows.execution_engine.entities.base import WorkflowImageData

PREDICTION_TYPE = "instance-segmentation"


def complete_detections(rows: sv.Detections, image: WorkflowImageData) -> sv.Detections:
    """Add what ties rows to their image: its size, and its place in its parents.

    No RLE is added. A block behind this one may change the masks and leave the column, or move the
    masks to the root image and leave the RLE on the crop's grid; and rows with the column do not
    merge with a model's. The RLE is made of the masks when JSON is written (`blocks.kinds`).

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
    completed: sv.Detections = attach_parents_coordinates_to_sv_detections(rows, image)
    return completed
