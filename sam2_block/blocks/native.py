"""Detections as the engine holds them in its tensor representation: `inference_models`' own.

Imported in that mode alone; `sam2_block.blocks.representation` chooses. What SAM 2 is asked is the
same as elsewhere, so predictions are `sv.Detections` from here to here.
"""

from __future__ import annotations

import uuid
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

from sam2_block.blocks.coordinates import POINT_COLUMNS
from sam2_block.blocks.kinds import rle_column
from sam2_block.blocks.results import PREDICTION_TYPE
from sam2_block.detections import (
    CLASS_NAME,
    DETECTION_ID,
    OF_THE_OLD_MASK,
    PROMPT_DETECTION_ID,
    SAM2_SCORE,
    UNTRACKED,
    object_column,
)
from sam2_block.errors import PromptError
from sam2_block.settings import MaskForm

# A column with the prompt's own entry of `bboxes_metadata`, which goes to the answer as it came;
# what is not a detection's has none. The other key holds `image_metadata`.
_ENTRY = "sam2_block.bbox_metadata"
_IMAGE = "sam2_block.image_metadata"

# What says where the boxes were found; see `blocks.coordinates`.
_ORIGIN = (
    ROOT_PARENT_ID_KEY,
    ROOT_PARENT_COORDINATES_KEY,
    ROOT_PARENT_DIMENSIONS_KEY,
    PARENT_COORDINATES_KEY,
    IMAGE_DIMENSIONS_KEY,
)


def prompt_detections(boxes: Any) -> sv.Detections | None:
    """Return the boxes of a native prediction, with all that belongs to each of them.

    Args:
        boxes: `Detections`, `InstanceDetections`, `(KeyPoints, Detections)` or None. Masks are not
            looked at, and nothing is changed.

    Raises:
        PromptError: It is anything else.
    """
    if boxes is None:
        return None
    if isinstance(boxes, tuple) and len(boxes) == 2 and isinstance(boxes[0], KeyPoints):
        boxes = boxes[1]
        if boxes is None:
            raise PromptError("boxes: these keypoints come without boxes; connect a model's own.")
    if not isinstance(boxes, (Detections, InstanceDetections)):
        raise PromptError(
            "boxes: expected detections of inference_models, as this engine runs with"
            f" ENABLE_TENSOR_DATA_REPRESENTATION=True; got {type(boxes).__name__}."
        )
    count = len(boxes)
    entries = [dict(entry or {}) for entry in boxes.bboxes_metadata or [{}] * count]
    if len(entries) != count:
        raise PromptError(f"boxes: {count} boxes with {len(entries)} entries of bboxes_metadata.")
    image_metadata = boxes.image_metadata or {}
    class_id = _on_cpu(boxes.class_id, torch.int64).reshape(-1)
    names = image_metadata.get(CLASS_NAMES_KEY) or {}
    class_names = [
        str(entry.get(CLASS_NAME_KEY, names.get(int(row), row)))
        for entry, row in zip(entries, class_id, strict=True)
    ]
    tracks = [entry.get(TRACKER_ID_KEY) for entry in entries]
    origin = {key: image_metadata[key] for key in _ORIGIN if image_metadata.get(key) is not None}
    points = {
        key: object_column([[] if entry.get(key) is None else entry[key] for entry in entries])
        for key in POINT_COLUMNS
        if any(key in entry for entry in entries)
    }
    return sv.Detections(
        xyxy=_on_cpu(boxes.xyxy, torch.float32).reshape(-1, 4),
        confidence=_on_cpu(boxes.confidence, torch.float32).reshape(-1),
        class_id=class_id,
        tracker_id=_tracker_ids(tracks),
        data={
            CLASS_NAME: np.array(class_names, dtype=np.str_),
            DETECTION_ID: np.array(
                [str(entry.get(DETECTION_ID) or uuid.uuid4()) for entry in entries], dtype=np.str_
            ),
            _ENTRY: object_column(entries),
            **{key: np.array([value] * count) for key, value in origin.items()},
            **points,
        },
        metadata={_IMAGE: image_metadata},
    )


def complete_detections(rows: sv.Detections, image: WorkflowImageData) -> InstanceDetections:
    """Return segmented rows as the engine's own blocks return theirs, with masks as RLE.

    Args:
        rows: Segmented rows of the image.
        image: The image they were found on.
    """
    came = rows.metadata.get(_IMAGE, {})
    names = dict(came.get(CLASS_NAMES_KEY) or {})
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
    # What the serialiser is told of polygons is said of the masks that came in.
    came = {key: value for key, value in came.items() if key != SERIALISE_POLYGONS_KEY}
    detections.image_metadata = {**came, **detections.image_metadata}
    return detections


def mask_form(chosen: MaskForm) -> MaskForm:
    """Return `compact`, whatever the operator chose: RLE is made of crops."""
    return "compact"


def serialise_predictions(predictions: Any) -> dict[str, Any]:
    """Write predictions as the engine writes RLE masks, with what it leaves out of its own.

    Args:
        predictions: Detections of `sam2_block/segment@v1`, left as they are.

    Raises:
        ValueError: They are of another type; the engine then tries its own serialisers.
    """
    answer: dict[str, Any] = serialise_native_rle_detections(predictions)
    entries = predictions.bboxes_metadata or []
    for row, entry in zip(answer["predictions"], entries, strict=True):
        row[SAM2_SCORE] = entry[SAM2_SCORE]
        row[PROMPT_DETECTION_ID] = entry[PROMPT_DETECTION_ID]
    return answer


def _class_ids(rows: sv.Detections, names: dict[int, str]) -> list[int]:
    """Return the class id of every row, and enter the classes that `names` lacks.

    Most blocks read the class of a row from `names` by its id alone. So objects of points have an
    id of their own where their usual one is that of another class.
    """
    ids = []
    for index, (class_id, name) in enumerate(
        zip(rows.class_id.tolist(), rows.data[CLASS_NAME].tolist(), strict=True)
    ):
        if _came(rows, index) is None and names.get(class_id, name) != name:
            taken = [taken for taken, of_class in names.items() if of_class == name]
            class_id = taken[0] if taken else max(names) + 1
        names.setdefault(class_id, name)
        ids.append(class_id)
    return ids


def _entry(rows: sv.Detections, index: int) -> dict[str, Any]:
    """Return a row's entry of `bboxes_metadata`."""
    came = _came(rows, index) or {}
    entry = {key: value for key, value in came.items() if key not in OF_THE_OLD_MASK}
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


def _came(rows: sv.Detections, index: int) -> dict[str, Any] | None:
    """Return the entry that a row's prompt came with; None for an object of points."""
    entry = rows.data[_ENTRY][index] if _ENTRY in rows.data else None
    return entry if isinstance(entry, dict) else None


def _tracker_ids(tracks: list[int | None]) -> NDArray[np.int64] | None:
    """Return the column, or None where nothing is tracked: a row is -1 or all are in tracks."""
    if all(track is None for track in tracks):
        return None
    return np.array(
        [UNTRACKED if track is None else int(track) for track in tracks], dtype=np.int64
    )


def _on_cpu(values: torch.Tensor, dtype: torch.dtype) -> NDArray[Any]:
    array: NDArray[Any] = values.detach().to("cpu", dtype).numpy()
    return array


def _tensor(values: Any, dtype: torch.dtype) -> torch.Tensor:
    return torch.as_tensor(values, dtype=dtype, device=WORKFLOWS_IMAGE_TENSOR_DEVICE)
