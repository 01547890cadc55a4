"""What is said by hand of single fields behind ours, in place of the block's entry."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.matrix.entries import Entry
from tests.matrix.parts import COUNT, CROP, ON_CROPS, inner_workflow, switch_to_default
from tests.matrix.table import TABLE
from tests.matrix.values import MASKS

NEXT = {
    "type": "roboflow_core/mask_visualization@v1",
    "name": "next",
    "image": "$inputs.image",
    "predictions": MASKS,
}
FLOW = Entry(
    fields={"next_steps": ["$steps.next"]},
    after=[NEXT],
    note="Our step is followed by a mask visualization in the branch.",
)
HAS_ROWS = {
    "type": "StatementGroup",
    "statements": [
        {
            "type": "BinaryStatement",
            "left_operand": {
                "type": "DynamicOperand",
                "operand_name": "value",
                "operations": COUNT,
            },
            "comparator": {"type": "(Number) >="},
            "right_operand": {"type": "StaticOperand", "value": 0},
        }
    ],
}


def _holds_six(value: Any) -> bool:
    return any(one is not None and len(one) == 6 for one in value)


FIELDS: dict[tuple[str, str], Entry] = {
    ("buffer@v1", "data"): Entry(gives={"output": _holds_six}),
    ("dimension_collapse@v1", "data"): Entry(gives={"output": _holds_six}),
    ("continue_if@v1", "evaluation_parameters"): replace(
        FLOW, fields={**FLOW.fields, "condition_statement": HAS_ROWS}
    ),
    ("delta_filter@v1", "value"): FLOW,
    ("rate_limiter@v1", "depends_on"): replace(FLOW, fields={**FLOW.fields, "cooldown_seconds": 0}),
    ("switch_case@v1", "value"): replace(FLOW, fields={"default_next_steps": ["$steps.next"]}),
    ("csv_formatter@v1", "columns_data"): Entry(
        fields={"columns_operations": {"value": COUNT}},
        gives={"csv_content": lambda value: "6" in value},
    ),
    ("data_aggregator@v1", "data"): Entry(
        fields={
            "data_operations": {"value": COUNT},
            "aggregation_mode": {"value": ["max"]},
            "interval_unit": "runs",
            "interval": 1,
        },
        output="value_max",
        gives={"value_max": 6},
    ),
    ("email_notification@v2", "message_parameters"): Entry(
        gives={"error_status": False, "(sent)": bool}
    ),
    ("expression@v1", "data"): Entry(
        fields={"switch": switch_to_default(COUNT)}, gives={"output": 6}
    ),
    ("inner_workflow@v1", "parameter_bindings"): Entry(
        fields=inner_workflow(MASKS), output="kept", rows={"kept": ("disc", "bar")}
    ),
    ("property_definition@v1", "data"): Entry(fields={"operations": COUNT}, gives={"output": 6}),
    ("string_template@v1", "data"): Entry(
        fields={"template": "{value}", "data_operations": {"value": COUNT}},
        gives={"output": "6"},
    ),
    ("vision_event_bundle@v1", "custom_metadata"): replace(
        TABLE["vision_event_bundle@v1"],
        fields={**TABLE["vision_event_bundle@v1"].fields, "cooldown_seconds": 0},
        gives={"error_status": bool},
        note="Takes text and numbers only; says so in `message`.",
    ),
    ("vlm_as_detector@v1", "classes"): Entry(fields={"task_type": "object-detection"}),
    ("vlm_as_detector@v2", "classes"): Entry(
        fields={"model_type": "google-gemini", "task_type": "object-detection"}
    ),
    ("classification_label_visualization@v1", "custom_colors"): Entry(
        fields={"predictions": "$steps.classified.output"},
        before=[
            {
                "type": "roboflow_core/first_non_empty_or_default@v1",
                "name": "classified",
                "data": ["$inputs.classification"],
            }
        ],
    ),
    ("detections_classes_replacement@v1", "classification_predictions"): Entry(
        fields={"object_detection_predictions": "$inputs.boxes"}, before=[CROP], segment=ON_CROPS
    ),
    ("open_ai@v7", "output_classes"): Entry(fields={"task_type": "object-detection"}),
}


# What lists mean in fields that take them, where a block raises at numbers.
MEANINGS = {
    "custom_colors": "colours",
    "zone": "points",
    "line_segment": "points",
    "reference_path": "points",
    "perspective_polygons": "points",
    "child_detections": "detections",
    "edges": "pairs of points",
    "images": "images",
    "reference_dimensions": "a width and a height",
}
