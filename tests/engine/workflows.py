"""Build and run workflows on the real engine, which loads the plugin as a server does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import supervision as sv
from pycocotools import mask as coco_mask
from roboflow_workflows.execution_engine.core import ExecutionEngine

from sam2_block.backends.protocol import Backend, ReadyPrediction
from sam2_block.masks import CroppedMask

# A detector as people write them in the workflow editor: a box around every bright blob.
_DETECTOR_CODE = """
def run(self, image) -> BlockResult:
    bright = (image.numpy_image[..., 0] > 127).astype(np.uint8)
    stats = cv2.connectedComponentsWithStats(bright)[2][1:]
    count = len(stats)
    return {"predictions": sv.Detections(
        xyxy=np.array([[x, y, x + w, y + h] for x, y, w, h, _ in stats], float).reshape(-1, 4),
        confidence=np.full(count, 0.5),
        class_id=np.arange(count),
        data={
            "class_name": np.array([f"blob {i}" for i in range(count)], dtype=str),
            "detection_id": np.array([f"id-{i}" for i in range(count)], dtype=str),
        },
    )}
"""

DETECTOR = {
    "type": "DynamicBlockDefinition",
    "manifest": {
        "type": "ManifestDescription",
        "block_type": "BlobDetector",
        "inputs": {
            "image": {
                "type": "DynamicInputDefinition",
                "selector_types": ["input_image", "step_output_image"],
            }
        },
        "outputs": {
            "predictions": {
                "type": "DynamicOutputDefinition",
                "kind": ["object_detection_prediction"],
            }
        },
    },
    "code": {"type": "PythonCode", "run_function_code": _DETECTOR_CODE},
}


def detect(image: str = "$inputs.image") -> dict[str, Any]:
    """Return the step `detector`, whose output is `$steps.detector.predictions`."""
    return {"type": "BlobDetector", "name": "detector", "image": image}


DETECTED = "$steps.detector.predictions"


def segment(**fields: Any) -> dict[str, Any]:
    """Return the step `sam`."""
    return {
        "type": "sam2_block/segment@v1",
        "name": "sam",
        "images": "$inputs.image",
        "version": "demo",
        **fields,
    }


def workflow(
    *steps: dict[str, Any],
    inputs: Sequence[dict[str, Any]] = (),
    outputs: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Return a definition with an input `image`; by default the outputs are those of `sam`."""
    outputs = outputs or {"predictions": "$steps.sam.predictions", "scores": "$steps.sam.scores"}
    uses_detector = any(step["type"] == "BlobDetector" for step in steps)
    return {
        "version": "1.0",
        "dynamic_blocks_definitions": [DETECTOR] if uses_detector else [],
        "inputs": [{"type": "WorkflowImage", "name": "image"}, *inputs],
        "steps": list(steps),
        "outputs": [
            {"type": "JsonField", "name": name, "selector": selector}
            for name, selector in outputs.items()
        ],
    }


def in_coordinates(definition: dict[str, Any], system: str) -> dict[str, Any]:
    """Ask for all outputs in coordinates of the image itself (`own`) or of the root (`parent`)."""
    outputs = [{**output, "coordinates_system": system} for output in definition["outputs"]]
    return {**definition, "outputs": outputs}


def in_both_systems(definition: dict[str, Any]) -> dict[str, Any]:
    """Add the first output once more, as `own`, in coordinates of the image itself."""
    own = {**definition["outputs"][0], "name": "own", "coordinates_system": "own"}
    return {**definition, "outputs": [*definition["outputs"], own]}


def rows_where(property_name: str, comparator: str, value: Any) -> dict[str, Any]:
    """Return an operation of the core filter: keep the rows whose property compares so."""
    statement = {
        "type": "BinaryStatement",
        "left_operand": {
            "type": "DynamicOperand",
            "operations": [{"type": "ExtractDetectionProperty", "property_name": property_name}],
        },
        "comparator": {"type": comparator},
        "right_operand": {"type": "StaticOperand", "value": value},
    }
    group = {"type": "StatementGroup", "statements": [statement]}
    return {"type": "DetectionsFilter", "filter_operation": group}


def batch_input(name: str, kind: str) -> dict[str, Any]:
    """Declare an input with one value an image."""
    return {"type": "WorkflowBatchInput", "name": name, "kind": [kind]}


def parameter(name: str) -> dict[str, Any]:
    """Declare an input with one value for all images."""
    return {"type": "WorkflowParameter", "name": name}


def run(
    definition: dict[str, Any],
    backend: Backend,
    images: Any,
    *,
    serialize: bool = False,
    settings: dict[str, Any] | None = None,
    **values: Any,
) -> list[dict[str, Any]]:
    """Compile and run; `values` are those of the inputs beside `image`."""
    parameters = {"backend": backend, **(settings or {})}
    engine = ExecutionEngine.init(
        definition,
        init_parameters={f"sam2_block.{name}": value for name, value in parameters.items()},
    )
    return engine.run({"image": images, **values}, serialize_results=serialize)


class ShapesBackend:
    """Answers the prompts of all calls, one after the other, with the masks given."""

    concurrent_images = 1

    def __init__(self, *masks: np.ndarray) -> None:
        self.masks = list(masks)
        self.images: list[np.ndarray] = []
        self.options: list[dict[str, Any]] = []

    def predict(
        self, image: np.ndarray, prompts: Sequence[Any], **options: Any
    ) -> list[ReadyPrediction]:
        self.images.append(image)
        self.options.append(options)
        taken, self.masks = self.masks[: len(prompts)], self.masks[len(prompts) :]
        return [ReadyPrediction(0.75, CroppedMask.from_region(mask)) for mask in taken]


def scene(height: int, width: int, *boxes: tuple[int, int, int, int]) -> np.ndarray:
    """Paint white rectangles (left, top, right, bottom) on black, BGR."""
    image = np.zeros((height, width, 3), dtype=np.uint8)
    for left, top, right, bottom in boxes:
        image[top:bottom, left:right] = 255
    return image


def mask_of(height: int, width: int, *boxes: tuple[int, int, int, int]) -> np.ndarray:
    """Set rectangles in a mask."""
    return scene(height, width, *boxes)[..., 0] > 0


# --- masks that a careless serialiser damages ---

HEIGHT, WIDTH = 60, 80

# The middle of an image of twice the size.
CENTRE_CROP = {
    "type": "roboflow_core/absolute_static_crop@v1",
    "name": "crop",
    "images": "$inputs.image",
    "x_center": WIDTH,
    "y_center": HEIGHT,
    "width": WIDTH,
    "height": HEIGHT,
}


def with_hole() -> np.ndarray:
    mask = mask_of(HEIGHT, WIDTH, (20, 10, 50, 40))
    mask[15:25, 30:40] = False
    return mask


MASKS = {
    "two parts": mask_of(HEIGHT, WIDTH, (0, 0, 10, 10), (60, 50, 80, 60)),
    "hole": with_hole(),
    "empty": mask_of(HEIGHT, WIDTH),
    "one pixel": mask_of(HEIGHT, WIDTH, (33, 44, 34, 45)),
    "touching corners only": mask_of(HEIGHT, WIDTH, (10, 10, 20, 20), (20, 20, 30, 30)),
    "full": mask_of(HEIGHT, WIDTH, (0, 0, WIDTH, HEIGHT)),
}
ONE_OBJECT_A_MASK = [[[5 * index, 5]] for index in range(len(MASKS))]


def decoded(detections: sv.Detections) -> np.ndarray:
    """Decode the masks of column `rle_mask`."""
    return np.array([coco_mask.decode(rle) for rle in detections.data["rle_mask"]], dtype=bool)
