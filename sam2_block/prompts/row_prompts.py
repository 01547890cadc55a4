"""The objects to segment in one image, each with the index of its source row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import supervision as sv

from sam2_block.prompts import Prompt, clipped_box, prompts_from_boxes, prompts_from_points
from sam2_block.prompts.limits import check_prompt_count
from sam2_block.rows.detections import rows_of_classes
from sam2_block.segment_options import SegmentOptions
from sam2_block.settings import LimitSettings


@dataclass(frozen=True)
class RowPrompt:
    """One object to segment.

    Attributes:
        prompt: None for an invalid box, whose row gets an empty mask.
        source_row: Index of its row in the detections; None for an object given by points.
        extent_xyxy: The box of its row if the mask is empty.
    """

    prompt: Prompt | None
    source_row: int | None
    extent_xyxy: tuple[float, float, float, float]


def row_prompts(
    source: sv.Detections,
    points: Any,
    image_hw: tuple[int, int],
    options: SegmentOptions,
    limits: LimitSettings,
) -> list[RowPrompt]:
    """Make a prompt of every box and of every point list, boxes first.

    Args:
        source: Rows as `detections.read_rows` returns them.
        points: As `prompts.parse_point_objects` takes them.
        image_hw: Height and width of the image.
        options: `class_filter` and `invalid_boxes` leave rows out.
        limits: Maximum numbers of boxes and points.

    Raises:
        PromptError: A box or a point cannot be used, or there are too many.
    """
    rows = rows_of_classes(source, options.class_filter).tolist()
    check_prompt_count(limits, len(rows), points)
    prompts = prompts_from_boxes(source.xyxy, image_hw, options.invalid_boxes, rows)
    from_boxes = [
        RowPrompt(prompt, row, clipped_box(source.xyxy[row], image_hw))
        for row, prompt in zip(rows, prompts, strict=True)
        if prompt is not None or options.invalid_boxes != "drop"
    ]
    from_points = [
        RowPrompt(prompt, None, prompt.extent_xyxy)
        for prompt in prompts_from_points(points, image_hw)
    ]
    return [*from_boxes, *from_points]
