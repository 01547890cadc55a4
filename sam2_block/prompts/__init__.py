"""Prompts for SAM 2: one for each object, made from a box or from points."""

from sam2_block.prompts.boxes import clipped_box, prompts_from_boxes
from sam2_block.prompts.points import parse_point_objects, points_as_list, prompts_from_points
from sam2_block.prompts.prompt import LabeledPoint, Prompt

__all__ = [
    "LabeledPoint",
    "Prompt",
    "clipped_box",
    "parse_point_objects",
    "points_as_list",
    "prompts_from_boxes",
    "prompts_from_points",
]
