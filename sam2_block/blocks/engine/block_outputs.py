"""Detections as the engine's downstream blocks and serialisers expect them."""

from __future__ import annotations

import numpy as np
import supervision as sv
from roboflow_workflows.core_steps.common.utils import attach_parents_coordinates_to_sv_detections
from roboflow_workflows.execution_engine.constants import IMAGE_DIMENSIONS_KEY, PREDICTION_TYPE_KEY
from roboflow_workflows.execution_engine.entities.base import WorkflowImageData

PREDICTION_TYPE = "instance-segmentation"


def complete_detections(rows: sv.Detections, image: WorkflowImageData) -> sv.Detections:
    """Add the columns that relate rows to their image: its size, and its offset in its parents.

    No RLE column is added. A downstream block may change the masks but not the column, or move the
    masks to the root image and leave the RLE on the crop's grid. Also, rows with the column do not
    merge with those of a model. The RLE is encoded from the masks when JSON is written (`kinds`).

    Args:
        rows: Segmented rows of the image; modified in place.
        image: The image that was segmented.
    """
    height, width = rows.mask.shape[1:]
    rows.data[IMAGE_DIMENSIONS_KEY] = np.array([[height, width]] * len(rows)).reshape(-1, 2)
    rows.data[PREDICTION_TYPE_KEY] = np.array([PREDICTION_TYPE] * len(rows), dtype=np.str_)
    if len(rows) == 0:
        # The serialisers read the size from the rows, or from here if there are none.
        rows.metadata[IMAGE_DIMENSIONS_KEY] = [height, width]
    completed: sv.Detections = attach_parents_coordinates_to_sv_detections(rows, image)
    return completed
