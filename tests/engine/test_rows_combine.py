"""Outputs of this block combined with each other and with others', in one workflow."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import supervision as sv

from sam2_block.backends.fake import FakeBackend
from sam2_block.rows.detections import POINT_CLASS_ID
from tests.engine.workflows import (
    CENTRE_CROP,
    DETECTED,
    HEIGHT,
    WIDTH,
    batch_input,
    detect,
    mask_of,
    run,
    scene,
    segment,
    workflow,
)

A, B, C = (10, 8, 30, 20), (40, 25, 60, 44), (100, 80, 120, 95)
GIVEN = batch_input("boxes", "object_detection_prediction")


def combine(one: str, two: str) -> dict[str, Any]:
    return {
        "type": "roboflow_core/detections_combine@v1",
        "name": "all",
        "prediction_one": f"$steps.{one}.predictions",
        "prediction_two": f"$steps.{two}.predictions",
    }


COMBINED = {"all": "$steps.all.predictions"}
CLICKS = segment(points=[[[5, 5]], [[70, 50]]], name="clicks")


def as_request(**columns: Any) -> dict[str, Any]:
    """Return predictions as they come in with a request."""
    row = {"x": 20, "y": 14, "width": 20, "height": 12, "confidence": 0.5, "detection_id": "a"}
    row = {**row, "class": "coin", "class_id": 0, "parent_id": "image", **columns}
    return {"image": {"width": WIDTH, "height": HEIGHT}, "predictions": [row]}


@pytest.mark.parametrize("serialize", [False, True])
@pytest.mark.parametrize(
    "columns",
    [
        {},
        {"tracker_id": 3},
        {"time_in_zone": 1.5},
        {"tracker_id": 3, "velocity": [1, 2], "area_px": 7},
    ],
    ids=str,
)
@pytest.mark.parametrize(("one", "two"), [("sam", "clicks"), ("clicks", "sam")])
def test_boxes_and_clicks_of_two_steps(
    one: str, two: str, columns: dict, serialize: bool, fake_backend: FakeBackend
) -> None:
    steps = [segment(boxes="$inputs.boxes"), CLICKS, combine(one, two)]
    definition = workflow(*steps, inputs=[GIVEN], outputs=COMBINED)
    image, boxes = scene(HEIGHT, WIDTH), as_request(**columns)
    (result,) = run(definition, fake_backend, image, boxes=[boxes], serialize=serialize)
    if serialize:
        rows = json.loads(json.dumps(result, allow_nan=False))["all"]["predictions"]
        assert sorted(row["class"] for row in rows) == ["coin", "foreground", "foreground"]
        return
    rows = result["all"]
    # Whoever reads a class by its id alone reads the right one.
    ids = dict(zip(rows.data["class_name"].tolist(), rows.class_id.tolist(), strict=True))
    assert ids == {"coin": 0, "foreground": POINT_CLASS_ID}
    assert rows.mask.any(axis=(1, 2)).all()
    if "tracker_id" in columns:
        assert sorted(rows.tracker_id.tolist()) == [-1, -1, 3]


def test_slices_and_the_whole_image(fake_backend: FakeBackend) -> None:
    slicer = {
        "type": "roboflow_core/image_slicer@v2",
        "name": "slicer",
        "image": "$inputs.image",
        "slice_width": WIDTH,
        "slice_height": HEIGHT,
        "overlap_ratio_width": 0.0,
        "overlap_ratio_height": 0.0,
    }
    stitch = {
        "type": "roboflow_core/detections_stitch@v1",
        "name": "stitch",
        "reference_image": "$inputs.image",
        "predictions": "$steps.on_slices.predictions",
        "overlap_filtering_strategy": "none",
    }
    definition = workflow(
        slicer,
        {**detect("$steps.slicer.slices"), "name": "in_slices"},
        segment(
            images="$steps.slicer.slices", boxes="$steps.in_slices.predictions", name="on_slices"
        ),
        stitch,
        detect(),
        segment(boxes=DETECTED),
        combine("stitch", "sam"),
        outputs={**COMBINED, "slices": "$steps.on_slices.predictions"},
    )
    image = scene(2 * HEIGHT, 2 * WIDTH, A, C)
    (result,) = run(definition, fake_backend, image)
    expected = [mask_of(2 * HEIGHT, 2 * WIDTH, box) for box in (A, C)]
    np.testing.assert_array_equal(result["all"].mask, expected * 2)
    assert np.isfinite(result["all"].data["sam2_score"]).all()


def test_columns_are_the_same_on_an_image_and_on_a_crop(fake_backend: FakeBackend) -> None:
    definition = workflow(
        CENTRE_CROP,
        segment(images="$steps.crop.crops", points=[[5, 5]], name="on_crop"),
        segment(points=[[5, 5]]),
        outputs={"crop": "$steps.on_crop.predictions", "image": "$steps.sam.predictions"},
    )
    (result,) = run(definition, fake_backend, scene(2 * HEIGHT, 2 * WIDTH))
    crop, image = result["crop"], result["image"]
    # The engine adds its scales when it moves rows to the input image.
    assert set(crop.data) - set(image.data) <= {
        "scaling_relative_to_parent",
        "scaling_relative_to_root_parent",
    }
    assert set(image.data) <= set(crop.data)
    assert "rle_mask" not in image.data


def test_consensus_of_boxes_and_clicks(fake_backend: FakeBackend) -> None:
    consensus = {
        "type": "roboflow_core/detections_consensus@v1",
        "name": "all",
        "predictions_batches": ["$steps.sam.predictions", "$steps.clicks.predictions"],
        "required_votes": 1,
    }
    definition = workflow(
        segment(boxes="$inputs.boxes"), CLICKS, consensus, inputs=[GIVEN], outputs=COMBINED
    )
    boxes = as_request(tracker_id=3)
    (result,) = run(definition, fake_backend, scene(HEIGHT, WIDTH), boxes=[boxes])
    assert len(result["all"]) == 3


def test_clicks_have_one_class_in_all_images_of_a_batch(fake_backend: FakeBackend) -> None:
    definition = workflow(segment(boxes="$inputs.boxes", points=[[5, 5]]), inputs=[GIVEN])
    nothing = {"image": {"width": WIDTH, "height": HEIGHT}, "predictions": []}
    boxes = [as_request(), nothing, as_request(class_id=5)]
    results = run(definition, fake_backend, [scene(HEIGHT, WIDTH)] * 3, boxes=boxes)
    ids = [result["predictions"].class_id.tolist() for result in results]
    assert ids == [[0, POINT_CLASS_ID], [POINT_CLASS_ID], [5, POINT_CLASS_ID]]


def test_names_without_ids_have_one_id_in_all_images_of_a_batch(fake_backend: FakeBackend) -> None:
    def named(*names: str) -> sv.Detections:
        return sv.Detections(
            xyxy=np.tile([10.0, 8, 30, 20], (len(names), 1)), data={"class_name": np.array(names)}
        )

    definition = workflow(segment(boxes="$inputs.boxes"), inputs=[GIVEN])
    boxes = [named("cat", "dog", "cat"), named("dog"), named("bird", "cat")]
    results = run(definition, fake_backend, [scene(HEIGHT, WIDTH)] * 3, boxes=boxes)
    ids: dict[str, set[int]] = {}
    for result in results:
        rows = result["predictions"]
        for name, number in zip(rows.data["class_name"].tolist(), rows.class_id, strict=True):
            ids.setdefault(name, set()).add(int(number))
    assert all(len(numbers) == 1 for numbers in ids.values())
    assert len(set.union(*ids.values())) == 3
