"""The kind of the predictions of `segment`, and their serialisation to JSON."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import numpy as np
import supervision as sv
from roboflow_workflows.core_steps.common.serializers import serialise_rle_sv_detections
from roboflow_workflows.execution_engine.entities.types import Kind

from sam2_block.blocks import PREDICTIONS_KIND_NAME
from sam2_block.json_values import json_value
from sam2_block.masks import BoolArray, CroppedMask
from sam2_block.masks.arrays import cropped_masks
from sam2_block.out_of_memory import converting_mask_memory_errors
from sam2_block.rows.columns import PROMPT_DETECTION_ID, RLE_MASK, SAM2_SCORE
from sam2_block.rows.detections import object_column

_DOCS = """
Predictions of `sam2_block/segment@v1`: instance segmentation with one row per prompt, as
`sv.Detections(...)` with `mask`, or, in the engine's tensor representation, as native
`InstanceDetections`. The output also declares the engine's own two kinds of instance segmentation,
so that it connects wherever they do.

**SERIALISATION:** as `rle_instance_segmentation_prediction`. `rle_mask` is encoded from the masks
when the response is serialised, in the coordinates that the output requests: the engine has moved
boxes and masks to the root image by then. Rows with an empty mask are included. Each row also has
`sam2_score` and `prompt_detection_id`. Numbers that are not finite become `null`.
"""

PREDICTIONS_KIND = Kind(
    name=PREDICTIONS_KIND_NAME,
    description="Masks of SAM 2, one row per prompt, in form of sv.Detections(...) object",
    docs=_DOCS,
    serialised_data_type="dict",
    internal_data_type="sv.Detections",
)


def serialise_predictions(predictions: Any) -> dict[str, Any]:
    """Serialise predictions as the engine serialises RLE masks, and add the columns that it omits.

    Args:
        predictions: Detections of `sam2_block/segment@v1`; not modified.

    Returns:
        `{"image": {"width", "height"}, "predictions": [...]}`, one entry per row, in order.

    Raises:
        TypeError: They are not `sv.Detections`; the engine then tries its own serialisers.
    """
    if not isinstance(predictions, sv.Detections):
        raise TypeError(f"expected sv.Detections; got {type(predictions).__name__}")
    rows = copy.copy(predictions)
    rows.data = {**predictions.data, RLE_MASK: rle_column(predictions)}
    document: dict[str, Any] = serialise_rle_sv_detections(rows)
    for name, convert in ((SAM2_SCORE, float), (PROMPT_DETECTION_ID, str)):
        for entry, value in zip(document["predictions"], rows.data[name], strict=True):
            entry[name] = convert(value)
    serialised: dict[str, Any] = json_value(document)
    return serialised


@converting_mask_memory_errors()
def rle_column(rows: sv.Detections) -> np.ndarray[Any, Any]:
    """Return the masks of the rows as a column of compressed COCO RLE, on the masks' grid."""
    masks = rows.mask
    _, height, width = masks.shape
    cropped: Iterable[CroppedMask] = cropped_masks(masks)
    if isinstance(masks, np.ndarray) and np.isfinite(rows.xyxy).all():
        cropped = map(_whole_crop, masks, cropped_masks(masks, rows.xyxy))
    return object_column([mask.coco_rle((height, width)) for mask in cropped])


def _whole_crop(mask: BoolArray, in_box: CroppedMask) -> CroppedMask:
    """Return the crop of a whole mask, given its part inside its box.

    A downstream block may have extended the mask beyond the box. Comparing the pixel counts is far
    faster than searching the whole mask for its first and last row and column.
    """
    complete = np.count_nonzero(in_box.crop) == np.count_nonzero(mask)
    return in_box if complete else CroppedMask.from_region(mask)
