"""The kind of what `segment` gives, and how it is written into JSON."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import supervision as sv
from roboflow_workflows.core_steps.common.serializers import serialise_rle_sv_detections
from roboflow_workflows.execution_engine.entities.types import Kind

from sam2_block import PREDICTIONS_KIND_NAME
from sam2_block.detections import PROMPT_DETECTION_ID, RLE_MASK, SAM2_SCORE, object_column
from sam2_block.mask_arrays import cropped_masks
from sam2_block.out_of_memory import naming_mask_memory_errors

_DOCS = """
What `sam2_block/segment@v1` gives: instance segmentation predictions, one row a prompt, as
`sv.Detections(...)` with `mask`, or, in the engine's tensor representation, as native
`InstanceDetections`. It is declared beside the engine's own two kinds of instance
segmentation, so that it connects wherever they do.

**SERIALISATION:** as `rle_instance_segmentation_prediction`, with the column `rle_mask` where the
rows have it. Those of a crop do not: their RLE is made of the masks when the answer is written, in
the coordinates that the output asks for, since the engine has moved boxes and masks to the root
image by then. Every row is there, one with an empty mask too.
Each row has `sam2_score` and `prompt_detection_id` besides.
"""

PREDICTIONS_KIND = Kind(
    name=PREDICTIONS_KIND_NAME,
    description="Masks of SAM 2, one row a prompt, in form of sv.Detections(...) object",
    docs=_DOCS,
    serialised_data_type="dict",
    internal_data_type="sv.Detections",
)


def serialise_predictions(predictions: Any) -> dict[str, Any]:
    """Write predictions as the engine writes RLE masks, with the columns that it leaves out.

    Args:
        predictions: Detections of `sam2_block/segment@v1`, left as they are.

    Returns:
        `{"image": {"width", "height"}, "predictions": [...]}`, one entry a row, in order.

    Raises:
        TypeError: They are no `sv.Detections`; the engine then tries its own serialisers.
    """
    if not isinstance(predictions, sv.Detections):
        raise TypeError(f"expected sv.Detections; got {type(predictions).__name__}")
    rows = copy.copy(predictions)
    rows.data = dict(predictions.data)
    if RLE_MASK not in rows.data:
        rows.data[RLE_MASK] = rle_column(rows)
    answer: dict[str, Any] = serialise_rle_sv_detections(rows)
    for name, convert in ((SAM2_SCORE, float), (PROMPT_DETECTION_ID, str)):
        for entry, value in zip(answer["predictions"], rows.data[name], strict=True):
            entry[name] = convert(value)
    return answer


@naming_mask_memory_errors()
def rle_column(rows: sv.Detections, *, in_boxes: bool = False) -> np.ndarray[Any, Any]:
    """Return the masks as a column of compressed COCO RLE, on the masks' own grid.

    Args:
        rows: Rows with masks.
        in_boxes: No mask exceeds its row's box, as is so until other blocks change rows.
    """
    _, height, width = rows.mask.shape
    masks = cropped_masks(rows.mask, rows.xyxy if in_boxes else None)
    return object_column([mask.coco_rle((height, width)) for mask in masks])
