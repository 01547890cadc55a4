"""Detections in the engine's tensor representation, the classes of `inference_models`.

`representation` imports this module in that mode only. Prompts and masks are the same in both
modes, so the rest of the package handles `sv.Detections` only.
"""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any

import numpy as np
import supervision as sv
import torch
from inference_models.models.base.instance_segmentation import InstanceDetections
from inference_models.models.base.keypoints_detection import KeyPoints
from inference_models.models.base.object_detection import Detections
from inference_models.models.base.types import InstancesRLEMasks
from numpy.typing import NDArray
from roboflow_workflows.core_steps.common.serializers_tensor import serialise_native_rle_detections
from roboflow_workflows.core_steps.common.tensor_native import attach_native_detection_metadata
from roboflow_workflows.environment import WORKFLOWS_IMAGE_TENSOR_DEVICE
from roboflow_workflows.execution_engine.constants import (
    CLASS_NAME_KEY,
    CLASS_NAMES_KEY,
    IMAGE_DIMENSIONS_KEY,
    PARENT_COORDINATES_KEY,
    ROOT_PARENT_COORDINATES_KEY,
    ROOT_PARENT_DIMENSIONS_KEY,
    ROOT_PARENT_ID_KEY,
    SERIALISE_POLYGONS_KEY,
    TRACKER_ID_KEY,
)
from roboflow_workflows.execution_engine.entities.base import WorkflowImageData

from sam2_block.blocks.engine.block_outputs import PREDICTION_TYPE
from sam2_block.blocks.engine.coordinates import POINT_COLUMNS
from sam2_block.blocks.engine.kinds import rle_column
from sam2_block.errors import PromptError
from sam2_block.json_values import json_value
from sam2_block.masks.mask_boxes import boxes_over_masks, boxes_over_rle
from sam2_block.rows.class_ids import class_id_of_name
from sam2_block.rows.columns import (
    CLASS_NAME,
    DETECTION_ID,
    PROMPT_DETECTION_ID,
    SAM2_SCORE,
    outdated_columns,
)
from sam2_block.rows.detections import POINT_CLASS_NAME, object_column, read_rows
from sam2_block.rows.row_checks import checked_boxes, shown
from sam2_block.settings import OutputSettings

# The column with the `bboxes_metadata` entry of each detection, which the output repeats; objects
# given by points have none. `_IMAGE` is the key of `image_metadata`.
_ENTRY = "sam2_block.bbox_metadata"
_IMAGE = "sam2_block.image_metadata"

# The keys that record where the boxes were detected; see `coordinates`.
_ORIGIN = (
    ROOT_PARENT_ID_KEY,
    ROOT_PARENT_COORDINATES_KEY,
    ROOT_PARENT_DIMENSIONS_KEY,
    PARENT_COORDINATES_KEY,
    IMAGE_DIMENSIONS_KEY,
)


def prompt_detections(boxes: Any) -> sv.Detections | None:
    """Return the boxes of a native prediction as `sv.Detections`, with the metadata of each box.

    Args:
        boxes: `Detections`, `InstanceDetections`, `(KeyPoints, Detections)` or None; not modified.
            Only the last row and column of a mask are read.

    Raises:
        PromptError: `boxes` is anything else, or a column cannot be read.
    """
    if boxes is None:
        return None
    if isinstance(boxes, tuple) and len(boxes) == 2 and isinstance(boxes[0], KeyPoints):
        boxes = boxes[1]
        if boxes is None:
            raise PromptError(
                "boxes: expected keypoints with boxes; got keypoints alone. Connect the predictions"
                " of a keypoint model."
            )
    if not isinstance(boxes, (Detections, InstanceDetections)):
        raise PromptError(
            "boxes: expected detections of inference_models, as this engine runs with"
            f" ENABLE_TENSOR_DATA_REPRESENTATION=True; got {type(boxes).__name__}."
        )
    xyxy = checked_boxes(_on_cpu("xyxy", boxes.xyxy))
    count = len(xyxy)
    entries = _entries(boxes.bboxes_metadata, count)
    image_metadata = _dict("image_metadata", boxes.image_metadata)
    origin = {key: image_metadata[key] for key in _ORIGIN if image_metadata.get(key) is not None}
    points = {
        key: object_column([[] if entry.get(key) is None else entry[key] for entry in entries])
        for key in POINT_COLUMNS
        if any(key in entry for entry in entries)
    }
    tracks = [entry.get(TRACKER_ID_KEY) for entry in entries]
    rows = sv.Detections.empty()
    rows.xyxy = xyxy
    rows.confidence = _on_cpu("confidence", boxes.confidence).reshape(-1)
    rows.class_id = _on_cpu("class_id", boxes.class_id).reshape(-1)
    rows.tracker_id = object_column(tracks) if any(t is not None for t in tracks) else None
    rows.data = {
        DETECTION_ID: object_column(
            [str(entry.get(DETECTION_ID) or uuid.uuid4()) for entry in entries]
        ),
        _ENTRY: object_column(entries),
        **{key: object_column([value] * count) for key, value in origin.items()},
        **points,
    }
    rows = read_rows(rows)
    rows.metadata = {_IMAGE: image_metadata}
    rows.data[CLASS_NAME] = _class_names(rows.class_id, entries, image_metadata)
    rows.xyxy = _over_masks(rows.xyxy, getattr(boxes, "mask", None))
    return rows


def complete_detections(rows: sv.Detections, image: WorkflowImageData) -> InstanceDetections:
    """Return segmented rows in the form of the engine's own blocks, with masks as RLE.

    Args:
        rows: Segmented rows of the image.
        image: The image that was segmented.
    """
    source = rows.metadata.get(_IMAGE, {})
    names = dict(source.get(CLASS_NAMES_KEY) or {})
    height, width = rows.mask.shape[1:]
    detections = InstanceDetections(
        xyxy=_tensor(rows.xyxy, torch.float32),
        class_id=_tensor(_class_ids(rows, names), torch.int64),
        confidence=_tensor(rows.confidence, torch.float32),
        mask=InstancesRLEMasks(
            image_size=(height, width),
            masks=[rle["counts"].encode("ascii") for rle in rle_column(rows)],
        ),
        bboxes_metadata=[_entry(rows, index) for index in range(len(rows))],
    )
    attach_native_detection_metadata(detections, image, names, PREDICTION_TYPE)
    # `SERIALISE_POLYGONS_KEY` describes the incoming masks: drop it.
    source = {key: value for key, value in source.items() if key != SERIALISE_POLYGONS_KEY}
    detections.image_metadata = {**source, **detections.image_metadata}
    return detections


def output_settings(chosen: OutputSettings) -> OutputSettings:
    """Return the operator's settings with compact masks, since RLE is encoded from crops."""
    return replace(chosen, masks="compact")


def serialise_predictions(predictions: Any) -> dict[str, Any]:
    """Serialise predictions as the engine serialises RLE masks, and add the columns that it omits.

    Args:
        predictions: Detections of `sam2_block/segment@v1`; not modified.

    Raises:
        ValueError: They are of another type; the engine then tries its own serialisers.
    """
    document: dict[str, Any] = serialise_native_rle_detections(predictions)
    entries = predictions.bboxes_metadata or []
    for row, entry in zip(document["predictions"], entries, strict=True):
        row[SAM2_SCORE] = entry[SAM2_SCORE]
        row[PROMPT_DETECTION_ID] = entry[PROMPT_DETECTION_ID]
    serialised: dict[str, Any] = json_value(document)
    return serialised


def _class_ids(rows: sv.Detections, names: dict[int, str]) -> list[int]:
    """Return the class id of every row, and add the missing classes to `names`.

    Most blocks look up the class of a row in `names` by its id alone. So the id of objects given by
    points differs from those of all the model's classes, including classes absent from this image.
    """
    used_ids = {number for number, name in names.items() if name != POINT_CLASS_NAME}
    point_class_id = class_id_of_name(POINT_CLASS_NAME, used_ids)
    ids = []
    for index, (class_id, name) in enumerate(
        zip(rows.class_id.tolist(), rows.data[CLASS_NAME].tolist(), strict=True)
    ):
        if _source_entry(rows, index) is None:
            class_id = point_class_id
        names.setdefault(class_id, name)
        ids.append(class_id)
    return ids


def _entry(rows: sv.Detections, index: int) -> dict[str, Any]:
    """Return a row's entry of `bboxes_metadata`."""
    source = _source_entry(rows, index) or {}
    outdated = outdated_columns(source)
    entry = {key: value for key, value in source.items() if key not in outdated}
    for name in POINT_COLUMNS:
        if entry.get(name) is not None:
            moved = rows.data[name][index]
            is_list = isinstance(entry[name], list) and isinstance(moved, np.ndarray)
            entry[name] = moved.tolist() if is_list else moved
    if rows.tracker_id is not None:
        entry[TRACKER_ID_KEY] = int(rows.tracker_id[index])
    entry[DETECTION_ID] = str(rows.data[DETECTION_ID][index])
    entry[PROMPT_DETECTION_ID] = str(rows.data[PROMPT_DETECTION_ID][index])
    entry[SAM2_SCORE] = float(rows.data[SAM2_SCORE][index])
    return entry


def _source_entry(rows: sv.Detections, index: int) -> dict[str, Any] | None:
    """Return the entry of the row's detection; None for an object given by points."""
    entry = rows.data[_ENTRY][index] if _ENTRY in rows.data else None
    return entry if isinstance(entry, dict) else None


def _dict(name: str, value: Any) -> dict[Any, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise PromptError(f"boxes: {name}: expected a dict or None; got {shown(value)}.")
    return value


def _entries(entries: Any, count: int) -> list[dict[str, Any]]:
    if entries is None:
        return [{} for _ in range(count)]
    if not isinstance(entries, (list, tuple)):
        raise PromptError(f"boxes: bboxes_metadata: expected a list; got {shown(entries)}.")
    if len(entries) != count:
        raise PromptError(f"boxes: {count} boxes with {len(entries)} entries of bboxes_metadata.")
    return [dict(_dict(f"bboxes_metadata, row {row}", entry)) for row, entry in enumerate(entries)]


def _class_names(
    class_id: NDArray[np.int64], entries: list[dict[str, Any]], image_metadata: dict[str, Any]
) -> NDArray[np.str_]:
    names = _dict(CLASS_NAMES_KEY, image_metadata.get(CLASS_NAMES_KEY))
    return np.array(
        [
            str(entry.get(CLASS_NAME_KEY, names.get(int(row), row)))
            for entry, row in zip(entries, class_id, strict=True)
        ],
        dtype=np.str_,
    )


def _over_masks(boxes_xyxy: NDArray[Any], masks: Any) -> NDArray[Any]:
    """Return the boxes extended to enclose the masks that came with them; see `mask_boxes`."""
    if isinstance(masks, InstancesRLEMasks):
        # On a grid other than the image's, the last pixel does not relate to the box.
        if masks.mask_size != masks.image_size or len(masks.masks) != len(boxes_xyxy):
            return boxes_xyxy
        size = masks.image_size
        return boxes_over_rle(boxes_xyxy, ({"size": size, "counts": rle} for rle in masks.masks))
    if isinstance(masks, torch.Tensor) and masks.ndim == 3 and len(masks) == len(boxes_xyxy):
        return boxes_over_masks(boxes_xyxy, masks.detach().to("cpu", torch.bool).numpy())
    return boxes_xyxy


def _on_cpu(column: str, values: Any) -> NDArray[Any]:
    if not isinstance(values, torch.Tensor):
        raise PromptError(f"boxes: {column}: expected a tensor; got {shown(values)}.")
    # NumPy has no bfloat16.
    values = values.float() if values.is_floating_point() else values
    array: NDArray[Any] = values.detach().cpu().numpy()
    return array


def _tensor(values: Any, dtype: torch.dtype) -> torch.Tensor:
    return torch.as_tensor(values, dtype=dtype, device=WORKFLOWS_IMAGE_TENSOR_DEVICE)
