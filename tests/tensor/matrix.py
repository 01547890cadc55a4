"""The cells of `tests/matrix` in tensor mode: native detections go in, and are read again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import supervision as sv
from inference_models.models.base.instance_segmentation import InstanceDetections
from inference_models.models.base.object_detection import Detections
from inference_models.models.base.types import InstancesRLEMasks
from roboflow_workflows.execution_engine.v1.dynamic_blocks.representation_boundary import (
    native_detections_to_sv,
    sv_detections_to_native,
)

from tests.matrix import outcomes, probing, running


def to_native(detections: sv.Detections) -> Detections:
    """Return what the engine's own code for dynamic blocks makes of detections."""
    native = sv_detections_to_native(detections, prefer_rle=True)
    native.image_metadata.setdefault("class_names", {})
    if len(native) == 0 and isinstance(native, InstanceDetections):
        # The engine's code knows no size where there is no mask; a model does.
        native.mask = InstancesRLEMasks(detections.mask.shape[1:], [])
    return native


def from_native(value: Any) -> Any:
    """Return results with their detections as numpy mode has them, for the same judges."""
    if isinstance(value, dict):
        return {key: from_native(item) for key, item in value.items()}
    if isinstance(value, list):
        return [from_native(item) for item in value]
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


def native_matrix() -> pytest.MonkeyPatch:
    """Let the matrix give native detections to its workflows, and read them, until undone."""
    inputs_of, run = running.inputs_of, running.run

    def native_inputs(*arguments: Any, **named: Any) -> dict[str, Any]:
        values = inputs_of(*arguments, **named)
        return {
            name: [to_native(one) if isinstance(one, sv.Detections) else one for one in value]
            if isinstance(value, list)
            else value
            for name, value in values.items()
        }

    def native_run(*arguments: Any, **named: Any) -> Any:
        return from_native(run(*arguments, **named))

    patch = pytest.MonkeyPatch()
    patch.setattr(running, "inputs_of", native_inputs)
    patch.setattr(outcomes, "run", native_run)
    patch.setattr(probing, "run", native_run)
    patch.setattr(outcomes, "Probe", NativeProbe)
    return patch
