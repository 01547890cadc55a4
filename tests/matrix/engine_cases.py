"""What the engine does with our masks without a block behind ours."""

from __future__ import annotations

from typing import Any

from tests.matrix.definitions import SEGMENT, workflow
from tests.matrix.entries import Entry
from tests.matrix.parts import CROP, ON_CROPS
from tests.matrix.probing import Probe
from tests.matrix.scenes import SCENES
from tests.matrix.values import MASKS

_PASS_ON = {
    "type": "DynamicBlockDefinition",
    "manifest": {
        "type": "ManifestDescription",
        "block_type": "PassOn",
        "inputs": {
            "masks": {"type": "DynamicInputDefinition", "selector_types": ["step_output"]},
        },
        "outputs": {
            "masks": {
                "type": "DynamicOutputDefinition",
                "kind": ["instance_segmentation_prediction"],
            }
        },
    },
    "code": {
        "type": "PythonCode",
        "run_function_code": "def run(self, masks) -> BlockResult:\n"
        "    return {'masks': masks, 'areas': masks.mask.sum(axis=(1, 2)).tolist()}\n",
    },
}
_PASS_ON["manifest"]["outputs"]["areas"] = {
    "type": "DynamicOutputDefinition",
    "kind": ["list_of_values"],
}


def _in_root_coordinates() -> dict[str, Any]:
    definition = workflow([CROP, {**SEGMENT, **ON_CROPS, "name": "sam"}])
    for output in definition["outputs"]:
        output["coordinates_system"] = "parent"
    return definition


def _in_custom_python() -> dict[str, Any]:
    step = {"type": "PassOn", "name": "block", "masks": MASKS}
    definition = workflow([{**SEGMENT, "name": "sam"}, step])
    return {**definition, "dynamic_blocks_definitions": [_PASS_ON]}


CASES = {
    "our own answer, in Python and in JSON": workflow([{**SEGMENT, "name": "sam"}]),
    "our answer on crops, moved to the root image, in Python and in JSON": _in_root_coordinates(),
    "a custom Python block that sums up the masks and hands them on": _in_custom_python(),
}


def compact_in(name: str) -> str:
    """Say whether masks held as `CompactMask` give what dense ones give."""
    return Probe(CASES[name], Entry(), SCENES).compact()
