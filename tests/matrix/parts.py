"""Parts of workflows that several entries are made of."""

from __future__ import annotations

from typing import Any

from tests.matrix.blocks import OURS

ZONE = [[5, 5], [155, 5], [155, 115], [5, 115]]
NO_AREA = "Drops rows whose box has no area, as that of a mask of one pixel."
WITH_AREA = ("disc", "two parts", "hole", "empty", "bar")

CROP = {
    "type": "roboflow_core/dynamic_crop@v1",
    "name": "crop",
    "images": "$inputs.image",
    "predictions": "$inputs.boxes",
}
ON_CROPS = {"images": "$steps.crop.crops", "boxes": "$steps.crop.predictions"}
SEGMENT_CROPS = {"type": OURS, "name": "on_crops", "version": "demo", **ON_CROPS}


def keep_classes(*names: str) -> dict[str, Any]:
    """Return an operation on detections."""
    statement = {
        "type": "BinaryStatement",
        "left_operand": {
            "type": "DynamicOperand",
            "operations": [{"type": "ExtractDetectionProperty", "property_name": "class_name"}],
        },
        "comparator": {"type": "in (Sequence)"},
        "right_operand": {"type": "StaticOperand", "value": list(names)},
    }
    group = {"type": "StatementGroup", "statements": [statement]}
    return {"type": "DetectionsFilter", "filter_operation": group}


def text_of(image: str) -> dict[str, Any]:
    """Return a step that gives a text for each image."""
    return {
        "type": "roboflow_core/property_definition@v1",
        "name": "text",
        "data": image,
        "operations": [
            {"type": "ExtractImageProperty", "property_name": "size"},
            {"type": "ToString"},
        ],
    }


def inner_workflow(boxes: str) -> dict[str, Any]:
    """Return the fields of an inner workflow that hands on the boxes given to it."""
    return {
        "workflow_definition": {
            "version": "1.0",
            "inputs": [
                {
                    "type": "WorkflowBatchInput",
                    "name": "value",
                    "kind": ["object_detection_prediction", "instance_segmentation_prediction"],
                }
            ],
            "steps": [
                {
                    "type": "roboflow_core/detections_filter@v1",
                    "name": "inner",
                    "predictions": "$inputs.value",
                    "operations": [keep_classes("disc", "bar")],
                }
            ],
            "outputs": [
                {"type": "JsonField", "name": "kept", "selector": "$steps.inner.predictions"}
            ],
        },
        "parameter_bindings": {"value": boxes},
    }


def switch_to_default(operations: list[dict[str, Any]]) -> dict[str, Any]:
    """Return cases, of which only the default applies: what the operations make of `value`."""
    default = {
        "type": "DynamicCaseResult",
        "parameter_name": "value",
        "operations": operations,
    }
    return {"type": "CasesDefinition", "cases": [], "default": default}
