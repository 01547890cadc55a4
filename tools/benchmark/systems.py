"""What is compared: our block, the engine's built-in block, Meta's predictor."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from benchmark.jobs import BUILT_IN, META_BF16, META_FP32, OURS_BF16, OURS_FP32, precision_of
from benchmark.memory import GIB
from benchmark.pictures import Boxes, Image
from benchmark.places import MODEL_FILE, Places

VERSION = "hiera_tiny"
_OURS, _BUILT_IN = "sam2_block/segment@v1", "roboflow_core/segment_anything@v1"
_TYPES = {OURS_FP32: _OURS, OURS_BF16: _OURS, BUILT_IN: _BUILT_IN}

# Meta's predictor brings three masks of every box to the size of the image, as floats: it is given
# as many boxes at once as stay within this.
_META_BYTES = 1 * GIB


def device() -> str:
    """Return the worker's device, `cpu` or `cuda`, which our block reads from the same variable."""
    return os.environ.get("SAM2_BLOCK_DEVICE", "cpu")


class Caller(Protocol):
    """One who asks. Callers of one system share its model; each is used by one thread."""

    def segment(self, images: Sequence[Image], boxes: Sequence[Boxes]) -> Any:
        """Segment every image's boxes and return the result, whatever it is."""

    def sizes(self, result: Any) -> tuple[int, int]:
        """Return rows and pixels of a result."""


class System(Protocol):
    """A loaded model."""

    def caller(self) -> Caller:
        """Return a new caller."""


def load(name: str, places: Places) -> System:
    """Load a system in this process."""
    if name in (META_FP32, META_BF16):
        return _MetaSystem(places, precision_of(name))
    return _EngineSystem(name)


def workflow(block_type: str) -> dict[str, Any]:
    """Return the workflow, which is the same for both blocks but for the type."""
    return {
        "version": "1.0",
        "inputs": [
            {"type": "WorkflowImage", "name": "image"},
            {
                "type": "WorkflowBatchInput",
                "name": "boxes",
                "kind": ["object_detection_prediction"],
            },
        ],
        "steps": [
            {
                "type": block_type,
                "name": "sam",
                "images": "$inputs.image",
                "boxes": "$inputs.boxes",
                "version": VERSION,
            }
        ],
        "outputs": [
            {
                "type": "JsonField",
                "name": "predictions",
                "selector": "$steps.sam.predictions",
                # The image is its own root, so that the numbers are those of `parent`, for which
                # the engine would make a dense array of compact masks.
                "coordinates_system": "own",
            }
        ],
    }


class _EngineSystem:
    """A block in the engine."""

    def __init__(self, name: str) -> None:
        self._parameters: dict[str, Any] = {}
        if name == BUILT_IN:
            self._parameters = _parameters_of_the_built_in_block()
        self._definition = workflow(_TYPES[name])

    def caller(self) -> Caller:
        from roboflow_workflows.execution_engine.core import ExecutionEngine

        engine = ExecutionEngine.init(self._definition, init_parameters=self._parameters)
        return _EngineCaller(engine)


def _parameters_of_the_built_in_block() -> dict[str, Any]:
    import inference.core  # noqa: F401 - it configures the engine, and so has to come first
    from inference.core.managers.base import ModelManager
    from inference.core.registries.roboflow import RoboflowModelRegistry
    from inference.models.utils import ROBOFLOW_MODEL_TYPES
    from roboflow_workflows.core_steps.common.entities import StepExecutionMode

    return {
        "workflows_core.model_manager": ModelManager(RoboflowModelRegistry(ROBOFLOW_MODEL_TYPES)),
        "workflows_core.api_key": None,
        "workflows_core.step_execution_mode": StepExecutionMode.LOCAL,
    }


class _EngineCaller:
    def __init__(self, engine: Any) -> None:
        self._engine = engine

    def segment(self, images: Sequence[Image], boxes: Sequence[Boxes]) -> Any:
        rows = [_detections(of_image) for of_image in boxes]
        return self._engine.run(runtime_parameters={"image": list(images), "boxes": rows})

    def sizes(self, result: Any) -> tuple[int, int]:
        predictions = [of_image["predictions"] for of_image in result]
        pixels = sum(int(rows.area.sum()) for rows in predictions if len(rows))
        return sum(len(rows) for rows in predictions), pixels


def _detections(boxes: Boxes) -> Any:
    import supervision as sv

    count = len(boxes)
    return sv.Detections(
        xyxy=boxes,
        confidence=np.full(count, 0.5),
        class_id=np.zeros(count, dtype=int),
        data={
            "class_name": np.full(count, "thing"),
            "detection_id": np.array([f"box-{index}" for index in range(count)]),
        },
    )


class _MetaSystem:
    """Meta's model, and a predictor for each caller."""

    def __init__(self, places: Places, precision: str) -> None:
        from sam2.build_sam import build_sam2

        weights = str(places.weights / MODEL_FILE)
        self._model = build_sam2("sam2_hiera_t.yaml", weights, device())
        self._precision = precision

    def caller(self) -> Caller:
        from sam2.sam2_image_predictor import SAM2ImagePredictor

        return _MetaCaller(SAM2ImagePredictor(self._model), self._precision)


class _MetaCaller:
    """Gives masks of the size of the image, the best of three for each box, as the blocks do.

    In bf16 it runs under autocast, as Meta's own notebooks run it.
    """

    def __init__(self, predictor: Any, precision: str) -> None:
        self._predictor = predictor
        self._precision = precision
        self._image: Image | None = None  # whose embedding the predictor holds

    def segment(self, images: Sequence[Image], boxes: Sequence[Boxes]) -> Any:
        with self._autocast():
            return [self._masks(image, rows) for image, rows in zip(images, boxes, strict=True)]

    def _autocast(self) -> contextlib.AbstractContextManager[object]:
        import torch

        if self._precision == "bf16":
            return torch.autocast(device(), dtype=torch.bfloat16)
        return contextlib.nullcontext()

    def _masks(self, image: Image, boxes: Boxes) -> Any:
        if image is not self._image:
            self._predictor.set_image(np.ascontiguousarray(image[..., ::-1]))
            self._image = image
        height, width = image.shape[:2]
        at_once = max(1, _META_BYTES // (3 * 4 * height * width))
        chosen = np.empty((len(boxes), height, width), dtype=bool)
        for start in range(0, len(boxes), at_once):
            rows = boxes[start : start + at_once]
            masks, scores, _ = self._predictor.predict(box=rows, multimask_output=True)
            masks, scores = masks.reshape(-1, *masks.shape[-3:]), scores.reshape(-1, 3)
            best = scores.argmax(axis=1)
            chosen[start : start + len(rows)] = masks[np.arange(len(rows)), best] > 0
        return chosen

    def sizes(self, result: Any) -> tuple[int, int]:
        pixels = sum(int(np.count_nonzero(masks)) for masks in result)
        return sum(len(masks) for masks in result), pixels
