"""How the engine holds detections: `sv.Detections`, or natively in its tensor representation.

The one place that asks. Images need no choice: the engine converts them where asked for pixels.

- `prompt_detections(boxes)`: a prediction as it came in, as `sv.Detections` or None.
- `complete_detections(rows, image)`: segmented rows as they go out.
- `serialise_predictions(predictions)`: these, in JSON.
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
        """Return the rows, checked and without their masks; None where there are none."""
        return None if boxes is None else read_rows(boxes)

    def output_settings(chosen: OutputSettings) -> OutputSettings:
        """Return what the operator chose."""
        return chosen


__all__ = ["complete_detections", "output_settings", "prompt_detections", "serialise_predictions"]
