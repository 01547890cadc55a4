"""Boxes as programs have them: detections, arrays, tensors, or lists."""

from __future__ import annotations

from typing import Any

import numpy as np
import supervision as sv

from sam2_block.errors import PromptError
from sam2_block.messages.short_repr import short_repr

BoxesInput = Any
"""`sv.Detections`, or numbers of shape `(N, 4)`; see `as_detections`."""

_EXPECTED = "boxes: expected sv.Detections, or (N, 4) numbers: left, top, right, bottom in pixels"


def as_detections(boxes: Any) -> sv.Detections | None:
    """Return boxes as detections.

    Args:
        boxes: `sv.Detections`, returned as they are; an array, a tensor or a list of shape
            `(N, 4)`, or `(4,)` for one box; or None.

    Raises:
        PromptError: They are anything else.
    """
    if boxes is None or isinstance(boxes, sv.Detections):
        return boxes
    if hasattr(boxes, "detach"):  # a tensor, on any device
        boxes = boxes.detach().cpu()
    try:
        xyxy = np.asarray(boxes, dtype=np.float32)
    except (TypeError, ValueError):
        raise PromptError(f"{_EXPECTED}; got {short_repr(boxes)}.{_hint(boxes)}") from None
    if xyxy.size == 0:
        return sv.Detections.empty()
    if xyxy.shape == (4,):
        xyxy = xyxy[None]
    if xyxy.ndim != 2 or xyxy.shape[1] != 4:
        raise PromptError(f"{_EXPECTED}; got shape {xyxy.shape}.")
    return sv.Detections(xyxy=xyxy)


def _hint(boxes: Any) -> str:
    module = type(boxes).__module__.partition(".")[0]
    if isinstance(boxes, list) and boxes:
        module = type(boxes[0]).__module__.partition(".")[0]
    if module == "ultralytics":
        return " Convert them by sv.Detections.from_ultralytics(results[0])."
    if isinstance(boxes, dict):
        return " Pass its boxes, as in results['boxes']."
    return ""
