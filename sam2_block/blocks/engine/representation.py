"""The engine's representation of detections: `sv.Detections`, or native tensors.

Only this module checks which of them is active. Images need no such choice: the engine converts
them when their pixels are read.

- `prompt_detections(boxes)`: an incoming prediction, as `sv.Detections` or None.
- `complete_detections(rows, image)`: segmented rows, as the block outputs them.
- `serialise_predictions(predictions)`: these outputs, as JSON.
- `output_settings(chosen)`: how `segment_image` returns masks.
"""

from __future__ import annotations

from typing import Any

from roboflow_workflows.environment import ENABLE_TENSOR_DATA_REPRESENTATION

from sam2_block.settings import OutputSettings

if ENABLE_TENSOR_DATA_REPRESENTATION:
    from sam2_block.blocks.engine.native import (
        complete_detections,
        output_settings,
        prompt_detections,
        serialise_predictions,
    )
else:
    from sam2_block.blocks.engine.block_outputs import complete_detections
    from sam2_block.blocks.engine.kinds import serialise_predictions
    from sam2_block.rows.detections import read_rows

    def prompt_detections(boxes: Any) -> Any:
        """Return the rows, checked and without their masks; None if `boxes` is None."""
        return None if boxes is None else read_rows(boxes)

    def output_settings(chosen: OutputSettings) -> OutputSettings:
        """Return the operator's settings unchanged."""
        return chosen


__all__ = ["complete_detections", "output_settings", "prompt_detections", "serialise_predictions"]
