"""The workflow of a cell: ours and the block, connected."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tests.matrix.blocks import OURS, Cell, blocks, selectors
from tests.matrix.entries import Entry
from tests.matrix.others import OTHERS
from tests.matrix.values import MASKS, fill_in

SEGMENT = {"type": OURS, "images": "$inputs.image", "boxes": "$inputs.boxes", "version": "demo"}

SAM = "$steps.sam."
FIRST = "$steps.first."

_INPUTS: dict[str, dict[str, Any]] = {
    "image": {"type": "WorkflowImage"},
    "boxes": {"type": "WorkflowBatchInput", "kind": ["object_detection_prediction"]},
    **{
        name: {"type": "WorkflowBatchInput", "kind": ["instance_segmentation_prediction"]}
        for name in OTHERS
    },
    "video_metadata": {"type": "WorkflowVideoMetadata"},
    "model_output": {"type": "WorkflowBatchInput", "kind": ["language_model_output"]},
    "model_id": {"type": "WorkflowParameter", "kind": ["roboflow_model_id"]},
    "template": {"type": "WorkflowImage"},
}


def definition(cell: Cell, entry: Entry) -> dict[str, Any]:
    """Return the workflow of a cell: the step `block` after the step `sam`, or before it.

    Raises:
        NoValueError: A field of the block is required, and no value is known for it.
    """
    block = blocks()[cell.block]
    given = {"type": cell.block, "name": "block", **entry.fields}
    if cell.table == "boxes":
        step = fill_in(block, given, boxes="$inputs.boxes")
        around = json.dumps([*entry.before, step]).replace(SAM, FIRST)
        first = [{**SEGMENT, "name": "first"}] if FIRST in around else []
        boxes = f"$steps.block.{entry.output or cell.port}"
        last = {**SEGMENT, "boxes": boxes, **entry.segment, "name": "sam"}
        steps = [*first, *json.loads(around), last]
    else:
        sam = {**SEGMENT, **entry.segment, "name": "sam"}
        if SAM not in json.dumps(given.get(cell.port)):
            takes_list = selectors(block)[cell.port].is_list_element
            given[cell.port] = [MASKS] if takes_list else MASKS
        step = fill_in(block, given, boxes="$inputs.boxes")
        steps = [*entry.before, sam, step]
    return workflow(steps, entry.output)


def workflow(steps: Sequence[dict[str, Any]], output: str = "") -> dict[str, Any]:
    """Return a definition whose outputs are all outputs of all steps, under the steps' names.

    Args:
        steps: The steps.
        output: The output of the step `block`, where the engine knows it only by name.
    """
    text = json.dumps(steps)
    selectors_of_outputs = {step["name"]: f"$steps.{step['name']}.*" for step in steps}
    if output:
        del selectors_of_outputs["block"]
        selectors_of_outputs[f"block:{output}"] = f"$steps.block.{output}"
    return {
        "version": "1.0",
        "inputs": [
            {"name": name, **declared}
            for name, declared in _INPUTS.items()
            if f'"$inputs.{name}"' in text
        ],
        "steps": list(steps),
        "outputs": [
            {"type": "JsonField", "name": name, "selector": selector, "coordinates_system": "own"}
            for name, selector in selectors_of_outputs.items()
        ],
    }
