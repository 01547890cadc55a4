"""Print how every core block composes with ours in tensor mode: the cells of `tests/matrix`.

    ENABLE_TENSOR_DATA_REPRESENTATION=True python -m tests.tensor.matrix [PART OF A CELL'S NAME ...]

Each cell is a line: the table, the block with its field or output, then what came out of each
scene, why it was not run, or what is wrong. The expectations are those of numpy mode, so that a
difference between the modes is printed as a problem.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from typing import Any

import inference.core  # noqa: F401  (before the engine, whose configuration it freezes)
import numpy as np
import supervision as sv
from inference_models.models.base.instance_segmentation import InstanceDetections
from inference_models.models.base.keypoints_detection import KeyPoints
from inference_models.models.base.object_detection import Detections
from inference_models.models.base.types import InstancesRLEMasks
from roboflow_workflows.environment import ENABLE_TENSOR_DATA_REPRESENTATION
from roboflow_workflows.execution_engine.v1.dynamic_blocks.representation_boundary import (
    native_detections_to_sv,
    sv_detections_to_native,
)

os.environ["WORKFLOWS_PLUGINS"] = "sam2_block"
from tests.matrix import outcomes, probing, running
from tests.matrix.blocks import cells


def to_native(detections: sv.Detections) -> Detections:
    """Return what the engine's own code for dynamic blocks makes of detections."""
    native = sv_detections_to_native(detections, prefer_rle=True)
    native.image_metadata.setdefault("class_names", {})
    return native


def from_native(value: Any) -> Any:
    """Return results with their detections as numpy mode has them, for the same judges."""
    if isinstance(value, dict):
        return {key: from_native(item) for key, item in value.items()}
    if isinstance(value, list):
        return [from_native(item) for item in value]
    if isinstance(value, tuple) and value and isinstance(value[0], KeyPoints):
        return from_native(value[1])
    if not isinstance(value, (Detections, InstanceDetections)):
        return value
    detections = native_detections_to_sv(value)
    mask = getattr(value, "mask", None)
    if isinstance(mask, InstancesRLEMasks):
        column = np.empty(len(detections), dtype=object)
        column[:] = mask.to_coco_rle_masks()
        detections.data["rle_mask"] = column
    return detections


class NativeProbe(probing.Probe):
    """Leaves out the forms of masks that there are in numpy mode alone."""

    def compact(self) -> str:
        return ""

    def are_masks_read(self) -> str:
        return ""


def connect() -> None:
    """Let the matrix give native detections to its workflows, and read them."""
    parameters, run = running._parameters, running.run

    def native_parameters(*arguments: Any, **named: Any) -> dict[str, Any]:
        values = parameters(*arguments, **named)
        return {
            name: [to_native(one) if isinstance(one, sv.Detections) else one for one in value]
            if isinstance(value, list)
            else value
            for name, value in values.items()
        }

    def native_run(*arguments: Any, **named: Any) -> Any:
        return from_native(run(*arguments, **named))

    running._parameters = native_parameters
    outcomes.run = probing.run = native_run
    outcomes.Probe = NativeProbe


def lines(parts: list[str]) -> Iterator[str]:
    for cell in cells():
        name = f"{cell.table} {cell}"
        if parts and not any(part in name for part in parts):
            continue
        outcome = outcomes.outcome_of(cell)
        said = (
            outcome.missing
            or outcome.reason
            or "; ".join(f"{scene}: {rows}" for scene, rows in outcome.scenes.items())
        )
        yield f"{name}: {' | '.join(['PROBLEM', *outcome.problems]) if outcome.problems else said}"


if __name__ == "__main__":
    if not ENABLE_TENSOR_DATA_REPRESENTATION:
        sys.exit("set ENABLE_TENSOR_DATA_REPRESENTATION=True")
    logging.disable(logging.CRITICAL)
    connect()
    for line in lines(sys.argv[1:]):
        print(line, flush=True)
