"""Core blocks before and after, in tensor mode."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pytest
import torch
from roboflow_workflows.execution_engine.entities.base import VideoMetadata

from sam2_block.backends.fake import FakeBackend
from tests.engine.test_downstream import after
from tests.engine.workflows import (
    DETECTED,
    HEIGHT,
    MASKS,
    WIDTH,
    ShapesBackend,
    batch_input,
    detect,
    mask_of,
    rows_where,
    run,
    scene,
    segment,
    workflow,
)
from tests.tensor.native import column, detections, masks

A, B = (10, 8, 30, 20), (40, 25, 60, 44)
SEGMENTED = "$steps.sam.predictions"
BOXES = batch_input("boxes", "object_detection_prediction")
WHITE = np.full((HEIGHT, WIDTH, 3), 255, dtype=np.uint8)


def keep(operation: dict[str, Any], predictions: str, name: str = "after") -> dict[str, Any]:
    return {
        "type": "roboflow_core/detections_filter@v1",
        "name": name,
        "predictions": predictions,
        "operations": [operation],
    }


def track(predictions: str, name: str) -> dict[str, Any]:
    return {
        "type": "roboflow_core/byte_tracker@v3",
        "name": name,
        "image": "$inputs.image",
        "detections": predictions,
    }


def frames(image: np.ndarray, count: int) -> list[dict[str, Any]]:
    """Return the image as frames of a video."""
    began = datetime.datetime(2026, 1, 1)
    return [
        {
            "type": "numpy_object",
            "value": image,
            "video_metadata": VideoMetadata(
                video_identifier="video",
                frame_number=number,
                frame_timestamp=began + datetime.timedelta(seconds=number / 30),
                fps=30,
                comes_from_video_file=True,
            ),
        }
        for number in range(count)
    ]


# --- before ---


def test_filter_before(fake_backend: FakeBackend) -> None:
    definition = workflow(
        keep(rows_where("class_name", "==", "token"), "$inputs.boxes", "filter"),
        segment(boxes="$steps.filter.predictions"),
        inputs=[BOXES],
    )
    boxes = detections(A, B, class_id=[3, 5])
    (result,) = run(definition, fake_backend, scene(HEIGHT, WIDTH), boxes=[boxes])
    assert column(result["predictions"], "prompt_detection_id") == ["id-1"]
    np.testing.assert_array_equal(masks(result["predictions"]), [mask_of(HEIGHT, WIDTH, B)])


def test_tracker_before(fake_backend: FakeBackend) -> None:
    definition = workflow(
        detect(),
        track(DETECTED, "tracker"),
        segment(boxes="$steps.tracker.tracked_detections"),
        outputs={
            "tracked": "$steps.tracker.tracked_detections",
            "predictions": "$steps.sam.predictions",
        },
    )
    results = run(definition, fake_backend, frames(scene(HEIGHT, WIDTH, A, B), 3))
    assert [len(result["predictions"]) for result in results][-1] == 2
    for result in results:
        tracked = column(result["tracked"], "tracker_id")
        assert column(result["predictions"], "tracker_id") == tracked
    assert len(set(tracked)) == 2


def test_masks_are_boxes_of_a_second_step(fake_backend: FakeBackend) -> None:
    definition = workflow(
        detect(), segment(boxes=DETECTED, name="first"), segment(boxes="$steps.first.predictions")
    )
    (result,) = run(definition, fake_backend, scene(HEIGHT, WIDTH, A, B))
    rows = result["predictions"]
    # No pixel is lost from one step to the next, though boxes end at the last one.
    np.testing.assert_array_equal(masks(rows), [mask_of(HEIGHT, WIDTH, box) for box in (A, B)])
    assert not set(column(rows, "prompt_detection_id")) & {"id-0", "id-1"}
    assert rows.image_metadata["class_names"] == {0: "blob 0", 1: "blob 1"}


# --- after ---


@pytest.mark.parametrize("form", ["numpy", "tensor"])
def test_mask_visualization_paints_the_masks(form: str) -> None:
    objects = [MASKS["two parts"], MASKS["hole"], MASKS["empty"], MASKS["one pixel"]]
    definition = after(
        {
            "type": "roboflow_core/mask_visualization@v1",
            "name": "after",
            "image": "$inputs.image",
            "predictions": SEGMENTED,
            "opacity": 1.0,
        },
        "image",
        objects=len(objects),
    )
    image = scene(HEIGHT, WIDTH)
    given = image if form == "numpy" else torch.from_numpy(image).permute(2, 0, 1)
    (result,) = run(definition, ShapesBackend(*objects), given)
    painted = result["out"].numpy_image.any(axis=2)
    np.testing.assert_array_equal(painted, np.any(objects, axis=0))


def test_filter_keeps_rows_with_their_masks() -> None:
    definition = after(keep(rows_where("size", "(Number) <", 500), SEGMENTED), "predictions")
    (result,) = run(definition, ShapesBackend(*MASKS.values()), scene(HEIGHT, WIDTH))
    expected = [MASKS["empty"], MASKS["one pixel"], MASKS["touching corners only"]]
    np.testing.assert_array_equal(masks(result["out"]), expected)


def test_filter_tells_points_from_boxes_of_the_same_class_id(fake_backend: FakeBackend) -> None:
    definition = workflow(
        segment(boxes="$inputs.boxes", points=[[50, 40]]),
        keep(rows_where("class_name", "==", "foreground"), SEGMENTED),
        inputs=[BOXES],
        outputs={"out": "$steps.after.predictions"},
    )
    boxes = detections(A, class_id=[0])
    (result,) = run(definition, fake_backend, scene(HEIGHT, WIDTH), boxes=[boxes])
    assert column(result["out"], "prompt_detection_id") == [""]


def test_dynamic_crop_cuts_out_the_masks() -> None:
    definition = after(
        {
            "type": "roboflow_core/dynamic_crop@v1",
            "name": "after",
            "images": "$inputs.image",
            "predictions": SEGMENTED,
            "mask_opacity": 1.0,
            "background_color": "(0,0,0)",
        },
        "crops",
    )
    (result,) = run(definition, ShapesBackend(*MASKS.values()), WHITE)
    crops = dict(zip(MASKS, result["out"], strict=True))
    hole = MASKS["hole"][10:39, 20:49]
    np.testing.assert_array_equal(crops["hole"].numpy_image[..., 0] > 127, hole)
    assert crops["full"].numpy_image.shape == (HEIGHT - 1, WIDTH - 1, 3)
    # A box without area cannot be cropped; the engine puts None in its place.
    assert crops["one pixel"] is None
    assert crops["empty"] is None


def test_tracker_after_keeps_the_masks(fake_backend: FakeBackend) -> None:
    definition = workflow(
        detect(),
        segment(boxes=DETECTED),
        track(SEGMENTED, "after"),
        outputs={"out": "$steps.after.tracked_detections"},
    )
    *_, last = run(definition, fake_backend, frames(scene(HEIGHT, WIDTH, A, B), 3))
    rows = last["out"]
    np.testing.assert_array_equal(
        masks(rows), [mask_of(HEIGHT, WIDTH, A), mask_of(HEIGHT, WIDTH, B)]
    )
    assert len(set(column(rows, "tracker_id"))) == 2
    assert column(rows, "prompt_detection_id") == ["id-0", "id-1"]


def test_code_of_the_users_gets_the_rows_as_elsewhere(fake_backend: FakeBackend) -> None:
    code = """
def run(self, rows) -> BlockResult:
    return {"read": {
        "type": type(rows).__name__,
        "masks": rows.mask.sum(axis=(1, 2)).tolist(),
        "classes": rows.data["class_name"].tolist(),
        "scores": rows.data["sam2_score"].tolist(),
        "prompts": rows.data["prompt_detection_id"].tolist(),
    }}
"""
    kind = "rle_instance_segmentation_prediction"
    reader = {
        "type": "DynamicBlockDefinition",
        "manifest": {
            "type": "ManifestDescription",
            "block_type": "Reader",
            "inputs": {
                "rows": {
                    "type": "DynamicInputDefinition",
                    "selector_types": ["step_output"],
                    "selector_data_kind": {"step_output": [kind]},
                }
            },
            "outputs": {"read": {"type": "DynamicOutputDefinition", "kind": ["dictionary"]}},
        },
        "code": {"type": "PythonCode", "run_function_code": code},
    }
    definition = workflow(
        detect(),
        segment(boxes=DETECTED),
        {"type": "Reader", "name": "reader", "rows": SEGMENTED},
        outputs={"read": "$steps.reader.read"},
    )
    definition["dynamic_blocks_definitions"].append(reader)
    (result,) = run(definition, fake_backend, scene(HEIGHT, WIDTH, A, B))
    assert result["read"] == {
        "type": "Detections",
        "masks": [20 * 12, 20 * 19],
        "classes": ["blob 0", "blob 1"],
        "scores": pytest.approx([0.9, 0.9]),
        "prompts": ["id-0", "id-1"],
    }
