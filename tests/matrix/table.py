"""What is said by hand of single blocks; most blocks need nothing here.

A new block of the engine that fails in the matrix gets its entry here: fields where the generic
values of `values.py` do not fit, what to expect of its outputs, or the reason why it does not run.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from tests.matrix.blocks import OURS
from tests.matrix.entries import Entry
from tests.matrix.parts import (
    CROP,
    NO_AREA,
    ON_CROPS,
    SEGMENT_CROPS,
    WITH_AREA,
    ZONE,
    keep_classes,
    text_of,
)
from tests.matrix.running import WRITABLE
from tests.matrix.values import MASKS

NOT_EMPTY = ("disc", "two parts", "hole", "one pixel", "bar")
NAMED = ("hole", "two parts", "empty")
TRACKER = Entry(
    frames=4,
    rows={
        "tracked_detections": WITH_AREA,
        "new_instances": "none",
        "already_seen_instances": WITH_AREA,
    },
    note=NO_AREA,
)
NEEDS_CONTOUR = r"max\(\) .*empty"  # Python 3.12 says it in other words than 3.11.
CONTOUR = Entry(
    fails={"single": NEEDS_CONTOUR, "batch": NEEDS_CONTOUR},
    note="Engine: one empty mask raises `max() arg is an empty sequence`.",
)
POLYGONS = "setting an array element with a sequence"
PATH = Entry(
    fails={"*": "CENTER is not supported"},
    note="Engine: fails on every input, whatever the anchor: it hands supervision a name in place"
    " of a `Position`.",
)


def _annotations(sent: list[tuple[str, dict[str, Any]]]) -> int:
    """Count the rows in what was uploaded."""
    uploads = [content for name, content in sent if name == "annotate_image_at_roboflow"]
    return len(json.loads(uploads[0]["annotation_content"])["predictions"])


LINE = {"line_segment": [[80, 0], [80, 119]]}
IN_ZONE = {"zone": ZONE, "remove_out_of_zone_detections": False}
SINK = Entry(runs=True, fields={"fire_and_forget": False}, gives={"error_status": False})
UPLOAD = replace(
    SINK,
    gives={**SINK.gives, "(sent)": lambda sent: _annotations(sent) == 5},
    note="Uploads one polygon a row: the largest part, without holes; no row for an empty mask.",
)

TABLE: dict[str, Entry] = {
    OURS: Entry(
        fields={"version": "demo"},
        runs=True,
        note="Boxes that come with masks are prompts that reach over the last pixels.",
    ),
    "bounding_rect@v1": replace(CONTOUR, masks={"detections_with_rect": "altered"}),
    "dynamic_zone@v1": replace(CONTOUR, masks={"predictions": "altered"}, rows={"zones": "all"}),
    "byte_tracker@v1": Entry(rows={"tracked_detections": WITH_AREA}, note=NO_AREA),
    "byte_tracker@v2": Entry(rows={"tracked_detections": WITH_AREA}, note=NO_AREA),
    "byte_tracker@v3": replace(TRACKER, frames=2),
    "trackers_bytetrack@v1": TRACKER,
    "trackers_botsort@v1": TRACKER,
    "trackers_sort@v1": TRACKER,
    "trackers_ocsort@v1": TRACKER,
    "track_class_lock@v1": Entry(frames=2),
    "velocity@v1": Entry(frames=2, moves=True),
    "frame_delay@v1": Entry(fields={"offset": -1}, frames=2),
    "camera_focus@v2": Entry(gives={"bbox_focus_measures": lambda value: len(value) == 6}),
    "detections_classes_replacement@v1": Entry(
        fields={
            "classification_predictions": "$steps.text.output",
            "fallback_class_name": "other",
        },
        before=[CROP, text_of("$steps.crop.crops")],
    ),
    "detections_combine@v1": Entry(rows={"predictions": "twice"}),
    "detections_consensus@v1": Entry(
        fields={"required_votes": 1}, gives={"object_present": True, "presence_confidence": bool}
    ),
    "detections_filter@v1": Entry(
        fields={"operations": [keep_classes(*NAMED)]}, rows={"predictions": NAMED}
    ),
    "detections_list_rollup@v1": Entry(
        fields={"child_detections": "$steps.children.output"},
        before=[
            CROP,
            SEGMENT_CROPS,
            {
                "type": "roboflow_core/dimension_collapse@v1",
                "name": "children",
                "data": "$steps.on_crops.predictions",
            },
        ],
        rows={"rolled_up_detections": NOT_EMPTY, "crop_zones": "all"},
        masks={"rolled_up_detections": "altered"},
        note="Drops rows with an empty mask; the masks are made of polygons anew.",
    ),
    "detections_merge@v1": Entry(
        rows={"predictions": "one"},
        masks={"predictions": "lost"},
        note="One box around all rows.",
    ),
    "detections_nearest_neighbor@v1": Entry(
        fields={"query_predictions": MASKS, "target_predictions": MASKS},
        gives={
            "matched_query_detections": lambda value: len(value) >= 6,
            "matched_target_detections": lambda value: len(value) >= 6,
        },
    ),
    "detections_stitch@v1": Entry(
        fields={"overlap_filtering_strategy": "none"}, before=[CROP], segment=ON_CROPS
    ),
    "detections_transformation@v1": Entry(
        fields={"operations": [{"type": "SortDetections", "mode": "confidence", "ascending": True}]}
    ),
    "distance_measurement@v1": Entry(
        fields={
            "object_1_class_name": "hole",
            "object_2_class_name": "bar",
            "reference_axis": "vertical",
            "calibration_method": "pixel to centimeter",
            "pixel_ratio": 10,
        },
        gives={"distance_cm": lambda value: abs(value - 4.1) < 0.2, "distance_pixel": 41},
        fails={"empty": "not found in predictions", "plain": "not found in predictions"},
        note="Raises where one of the two classes is not there, as it means to.",
    ),
    "dynamic_crop@v1": Entry(
        rows={"crops": WITH_AREA, "predictions": WITH_AREA},
        note="Gives None for a row whose box has no area, as that of a mask of one pixel.",
    ),
    "geotag_detection@v1": Entry(rows={"geo_detections": "all"}),
    "heatmap_visualization@v1": Entry(frames=2, moves=True),
    "line_counter@v1": Entry(
        fields=LINE,
        frames=2,
        moves=True,
        gives={"count_in": 2, "count_out": 4},
    ),
    "line_counter@v2": Entry(
        fields=LINE,
        frames=2,
        moves=True,
        gives={
            "detections_in": lambda value: len(value) == 2 and value.mask.any(),
            "detections_out": lambda value: len(value) == 3 and value.mask.any(),
        },
    ),
    "mask_edge_snap@v1": Entry(
        masks={"refined_segmentation": "altered"},
        gives={"edges": lambda value: len(value) == 1},
    ),
    "onvif_sink@v1": Entry(reason="needs a camera"),
    "overlap@v1": Entry(fields={"overlap_class_name": "hole"}, rows={"overlaps": ("one pixel",)}),
    "overlap_analysis@v1": Entry(
        gives={
            "overlaps": lambda value: {"hole", "bar"} <= {one["reference_class"] for one in value}
        }
    ),
    "path_deviation_analytics@v1": PATH,
    "path_deviation_analytics@v2": PATH,
    "perspective_correction@v1": Entry(
        fields={
            "perspective_polygons": [[10, 5], [150, 0], [159, 119], [0, 110]],
            "transformed_rect_width": 160,
            "transformed_rect_height": 120,
            "warp_image": True,
        },
        masks={"corrected_coordinates": "altered"},
        gives={"warped_image": lambda value: value.numpy_image.shape == (120, 160, 3)},
        fails={"single": POLYGONS, "batch": POLYGONS},
        note=f"Engine: masks in parts, with holes or empty raise `{POLYGONS} …`.",
    ),
    "roboflow_dataset_upload@v1": UPLOAD,
    "roboflow_dataset_upload@v2": UPLOAD,
    "roboflow_custom_metadata@v1": replace(SINK, gives={**SINK.gives, "(sent)": bool}),
    "model_monitoring_inference_aggregator@v1": replace(
        SINK,
        fields={**SINK.fields, "model_id": "$steps.text.output"},
        before=[text_of("$inputs.image")],
    ),
    "roboflow_vision_events@v1": Entry(reason="needs the internet"),
    "size_measurement@v1": Entry(
        fields={"reference_predictions": MASKS},
        gives={"dimensions": lambda value: len(value) == 6},
    ),
    "time_in_zone@v1": Entry(fields=IN_ZONE),
    "time_in_zone@v2": Entry(fields=IN_ZONE),
    "time_in_zone@v3": Entry(fields=IN_ZONE),
    "trace_visualization@v1": Entry(
        frames=2,
        moves=True,
    ),
    "vision_event_bundle@v1": Entry(
        fields={"target_directory": WRITABLE, "fire_and_forget": False},
        gives={"error_status": False},
    ),
}
