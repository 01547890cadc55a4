"""Rows with masks that are not ours, as other blocks of the engine give them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import supervision as sv
from roboflow_workflows.core_steps.common.utils import (
    attach_prediction_type_info_to_sv_detections_batch,
    convert_inference_detections_batch_to_sv_detections,
)

from sam2_block.masks import coco_rle
from tests.matrix.scenes import Picture


def _of_a_model(picture: Picture, **further: Any) -> sv.Detections:
    """Return an instance segmentation model's rows, by the function that makes them of answers.

    The engine's own SAM 2 block makes its rows by the same one, and `inference_id` is what it has
    not.

    Args:
        picture: Its boxes are the masks, as polygons.
        further: What every prediction has, or a function of the row's number.
    """
    height, width = picture.image.shape[:2]
    predictions = []
    for row, (name, (x1, y1, x2, y2)) in enumerate(
        zip(picture.names, picture.boxes_xyxy.tolist(), strict=True)
    ):
        corners = [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]
        predictions.append(
            {
                **{"x": (x1 + x2) / 2, "y": (y1 + y2) / 2, "width": x2 - x1, "height": y2 - y1},
                **{"class": name, "class_id": row, "confidence": 0.75, "parent_id": "image"},
                "detection_id": f"other-{row}",
                "points": [{"x": x, "y": y} for x, y in corners],
                **{key: value(row) if callable(value) else value for key, value in further.items()},
            }
        )
    response = {"image": {"width": width, "height": height}, "predictions": predictions}
    rows = convert_inference_detections_batch_to_sv_detections([response])
    (rows,) = attach_prediction_type_info_to_sv_detections_batch(rows, "instance-segmentation")
    if not predictions:  # which are instances nevertheless
        rows.mask = np.zeros((0, height, width), dtype=bool)
    rows.metadata["image_dimensions"] = [height, width]
    return rows


def model(picture: Picture) -> sv.Detections:
    """Return the rows of an instance segmentation model."""
    rows = _of_a_model(picture)
    rows.data["inference_id"] = np.array(["other"] * len(rows), dtype=np.str_)
    return rows


def built_in(picture: Picture) -> sv.Detections:
    """Return the rows of `roboflow_core/segment_anything@v1`."""
    return _of_a_model(picture)


def tracked(picture: Picture) -> sv.Detections:
    """Return the rows of a model behind a tracker."""
    return _of_a_model(picture, tracker_id=lambda row: row + 1)


def with_rle(picture: Picture) -> sv.Detections:
    """Return the rows of a model that answers with RLE."""
    return _of_a_model(picture, rle_mask=lambda row: coco_rle(picture.masks[row]))


def measured(picture: Picture) -> sv.Detections:
    """Return the rows of a model with a column of a block behind it."""
    rows = _of_a_model(picture)
    rows.data["area_px"] = np.arange(len(rows), dtype=float)
    return rows


OTHERS: dict[str, Callable[[Picture], sv.Detections]] = {
    "model": model,
    "built_in": built_in,
    "tracked": tracked,
    "with_rle": with_rle,
    "measured": measured,
}
