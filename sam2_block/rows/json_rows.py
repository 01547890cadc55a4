"""Detections with masks in JSON, as the block's output is, without the engine."""

from __future__ import annotations

from typing import Any

import supervision as sv

from sam2_block.json_values import json_value
from sam2_block.masks.arrays import cropped_masks
from sam2_block.rows.columns import CLASS_NAME, DETECTION_ID, PROMPT_DETECTION_ID, SAM2_SCORE


def json_rows(detections: sv.Detections, image_hw: tuple[int, int]) -> dict[str, Any]:
    """Return detections of `Segmenter.segment` as JSON can hold them.

    Args:
        detections: One image's, with masks.
        image_hw: Height and width of the image.

    Returns:
        `{"image": {"width", "height"}, "predictions": [...]}`, one entry a row, in order: `x` and
        `y` are the center of the box, `rle_mask` is compressed COCO RLE.
    """
    height, width = image_hw
    entries = []
    for row, mask in enumerate(cropped_masks(detections.mask)):
        left, top, right, bottom = (float(edge) for edge in detections.xyxy[row])
        entry = {
            "width": right - left,
            "height": bottom - top,
            "x": (left + right) / 2,
            "y": (top + bottom) / 2,
            "confidence": detections.confidence[row],
            "class_id": detections.class_id[row],
            "class": str(detections.data[CLASS_NAME][row]),
            "detection_id": str(detections.data[DETECTION_ID][row]),
            "rle_mask": mask.coco_rle(image_hw),
            SAM2_SCORE: float(detections.data[SAM2_SCORE][row]),
            PROMPT_DETECTION_ID: str(detections.data[PROMPT_DETECTION_ID][row]),
        }
        if detections.tracker_id is not None:
            entry["tracker_id"] = detections.tracker_id[row]
        entries.append(entry)
    document = {"image": {"width": width, "height": height}, "predictions": entries}
    written: dict[str, Any] = json_value(document)
    return written
