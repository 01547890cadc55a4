"""Native predictions to feed to workflows, and to read."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from inference_models.models.base.instance_segmentation import InstanceDetections
from inference_models.models.base.keypoints_detection import KeyPoints
from inference_models.models.base.object_detection import Detections
from inference_models.models.common.rle_utils import coco_rle_masks_to_numpy_mask

Box = tuple[float, float, float, float]

CLASS_NAMES = {0: "person", 3: "coin", 5: "token"}


def detections(
    *boxes: Box, class_id: list[int] | None = None, entries: list[dict[str, Any]] | None = None
) -> Detections:
    """Return boxes with ids `id-0`, `id-1`, ..., of class 3 and confidence 0.5 unless told."""
    count = len(boxes)
    entries = entries or [{"detection_id": f"id-{index}"} for index in range(count)]
    return Detections(
        xyxy=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        class_id=torch.tensor(class_id or [3] * count, dtype=torch.long),
        confidence=torch.full((count,), 0.5),
        image_metadata={"class_names": dict(CLASS_NAMES), "inference_id": "inference"},
        bboxes_metadata=entries if count else None,
    )


def with_masks(boxes: Detections, mask: Any) -> InstanceDetections:
    """Return the same boxes as instances."""
    return InstanceDetections(
        boxes.xyxy,
        boxes.class_id,
        boxes.confidence,
        mask=mask,
        image_metadata=boxes.image_metadata,
        bboxes_metadata=boxes.bboxes_metadata,
    )


def with_keypoints(boxes: Detections) -> tuple[KeyPoints, Detections]:
    """Return the same boxes as a keypoint model does, with one keypoint each."""
    xy = boxes.xyxy[:, None, :2] + 1
    for entry, row in zip(boxes.bboxes_metadata or [], xy.tolist(), strict=True):
        entry.update(
            keypoints_xy=row,
            keypoints_confidence=[0.75],
            keypoints_class_id=[0],
            keypoints_class_name=["nose"],
        )
    confidence = torch.full((len(boxes), 1), 0.75)
    return KeyPoints(xy, boxes.class_id, confidence, boxes.image_metadata), boxes


def masks(predictions: InstanceDetections) -> np.ndarray:
    """Decode the masks."""
    return coco_rle_masks_to_numpy_mask(predictions.mask)


def column(predictions: Detections | InstanceDetections, name: str) -> list[Any]:
    """Return what each row's metadata has under a name."""
    return [entry.get(name) for entry in predictions.bboxes_metadata or []]
