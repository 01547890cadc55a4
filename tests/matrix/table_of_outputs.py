"""What is said by hand of single outputs in front of ours, in place of the block's entry."""

from __future__ import annotations

from dataclasses import replace

from tests.matrix.entries import Entry
from tests.matrix.parts import (
    CROP,
    NO_AREA,
    SEGMENT_CROPS,
    WITH_AREA,
    inner_workflow,
    keep_classes,
    switch_to_default,
)
from tests.matrix.table import TABLE

NEW = Entry(rows={"new_instances": WITH_AREA}, note=NO_AREA)

OUTPUTS: dict[tuple[str, str], Entry] = {
    ("byte_tracker@v3", "new_instances"): NEW,
    ("trackers_bytetrack@v1", "new_instances"): replace(NEW, frames=2),
    ("trackers_botsort@v1", "new_instances"): replace(NEW, frames=2),
    ("trackers_ocsort@v1", "new_instances"): replace(NEW, frames=2),
    ("trackers_sort@v1", "new_instances"): replace(NEW, frames=3),
    ("cache_get@v1", "output"): Entry(
        fails={"*": "boxes: expected .*; got bool"},
        note="Gives `False` while nothing is in the cache; our step says so.",
    ),
    ("cache_set@v1", "output"): Entry(fields={"value": "$inputs.boxes"}),
    ("expression@v1", "output"): Entry(
        fields={"data": {"value": "$inputs.boxes"}, "switch": switch_to_default([])}
    ),
    ("detections_difference@v1", "new_detections"): Entry(
        fields={"reference_predictions": "$steps.few.predictions"},
        before=[
            {
                "type": "roboflow_core/detections_filter@v1",
                "name": "few",
                "predictions": "$inputs.boxes",
                "operations": [keep_classes("bar")],
            }
        ],
        gives={"new_detections": lambda value: len(value) >= 4},
    ),
    ("detections_difference@v1", "removed_detections"): Entry(
        fields={"candidate_predictions": "$steps.few.predictions"},
        before=[
            {
                "type": "roboflow_core/detections_filter@v1",
                "name": "few",
                "predictions": "$inputs.boxes",
                "operations": [keep_classes("bar")],
            }
        ],
        gives={"removed_detections": lambda value: len(value) >= 4},
    ),
    ("detections_stitch@v1", "predictions"): Entry(
        fields={
            "overlap_filtering_strategy": "none",
            "predictions": "$steps.on_crops.predictions",
        },
        before=[CROP, SEGMENT_CROPS],
    ),
    ("dynamic_crop@v1", "predictions"): Entry(
        fields={"predictions": "$inputs.boxes"},
        segment={"images": "$steps.block.crops"},
        note="On the crops, one row each.",
    ),
    ("first_non_empty_or_default@v1", "output"): Entry(fields={"data": ["$inputs.boxes"]}),
    ("frame_delay@v1", "output"): Entry(fields={"data": "$inputs.boxes", "offset": 0}),
    ("gaze@v1", "face_predictions"): Entry(
        fails={"*": "has been removed from inference"},
        note="Its model was removed from inference; it raises.",
    ),
    ("inner_workflow@v1", "*"): Entry(
        fields=inner_workflow("$inputs.boxes"), output="kept", rows={"kept": ("disc", "bar")}
    ),
    ("mask_edge_snap@v1", "edges"): Entry(
        gives={"edges": lambda value: len(value) == 1},
        rows={"edges": "one"},
        note="One row for the whole image.",
    ),
    ("motion_detection@v1", "detections"): Entry(
        fields={"history": 2, "suppress_first_detections": False},
        frames=3,
        moves=True,
        gives={"detections": lambda value: len(value) > 0},
    ),
    ("overlap@v1", "overlaps"): Entry(
        fields={"predictions": "$inputs.boxes", "overlap_class_name": "one pixel"},
        gives={"overlaps": lambda value: len(value) == 1},
    ),
    ("perspective_correction@v1", "corrected_coordinates"): replace(
        TABLE["perspective_correction@v1"],
        fields={
            **TABLE["perspective_correction@v1"].fields,
            "predictions": "$inputs.boxes",
        },
        segment={"images": "$steps.block.warped_image"},
        fails={},
        note="With its `warped_image` as our image.",
    ),
    ("property_definition@v1", "output"): Entry(
        fields={"data": "$inputs.boxes", "operations": [keep_classes("disc", "bar")]},
        rows={"output": ("disc", "bar")},
    ),
    ("template_matching@v1", "predictions"): Entry(
        fields={"template": "$inputs.template"},
        gives={"predictions": lambda value: len(value) == 1},
    ),
    ("vlm_as_detector@v1", "predictions"): Entry(
        fields={"task_type": "object-detection", "classes": ["bar"]},
        gives={"predictions": lambda value: len(value) == 1},
    ),
    ("vlm_as_detector@v2", "predictions"): Entry(
        fields={
            "model_type": "google-gemini",
            "task_type": "object-detection",
            "classes": ["bar"],
        },
        gives={"predictions": lambda value: len(value) == 1},
    ),
}
