"""The answer as JSON, and read back with the engine's own reader."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
import pytest
import supervision as sv
from roboflow_workflows.core_steps.common.deserializers import deserialize_rle_detections_kind

from sam2_block.backends.fake import FakeBackend
from sam2_block.blocks.engine.kinds import serialise_predictions
from sam2_block.rows.columns import RLE_MASK
from sam2_block.rows.json_rows import json_rows
from tests.engine.workflows import (
    CENTRE_CROP,
    DETECTED,
    HEIGHT,
    MASKS,
    ONE_OBJECT_A_MASK,
    WIDTH,
    ShapesBackend,
    batch_input,
    decoded,
    detect,
    in_coordinates,
    run,
    scene,
    segment,
    workflow,
)

A, B = (10, 8, 30, 20), (40, 25, 60, 44)


def through_json(predictions: Any) -> sv.Detections:
    # NaN is no JSON.
    text = json.dumps(predictions, allow_nan=False)
    return deserialize_rle_detections_kind("predictions", json.loads(text))


def test_json_keeps_every_mask_exactly() -> None:
    definition = workflow(segment(points=ONE_OBJECT_A_MASK))
    images = scene(HEIGHT, WIDTH)
    (dense,) = run(definition, ShapesBackend(*MASKS.values()), images)
    (answer,) = run(definition, ShapesBackend(*MASKS.values()), images, serialize=True)
    back = through_json(answer["predictions"])
    np.testing.assert_array_equal(decoded(back), list(MASKS.values()))
    np.testing.assert_array_equal(dense["predictions"].mask, list(MASKS.values()))
    np.testing.assert_allclose(back.xyxy, dense["predictions"].xyxy)
    assert answer["predictions"]["image"] == {"width": WIDTH, "height": HEIGHT}
    assert json.loads(json.dumps(answer["scores"])) == [0.75] * len(MASKS)


def test_rows_are_written_alike_without_the_engine() -> None:
    """`sam2-block segment` and `demo` write what a workflow does."""
    steps = [detect(), segment(boxes=DETECTED, points=ONE_OBJECT_A_MASK)]
    masks, image = [next(iter(MASKS.values())), *MASKS.values()], scene(HEIGHT, WIDTH, A)
    (plain,) = run(workflow(*steps), ShapesBackend(*masks), image)
    (written,) = run(workflow(*steps), ShapesBackend(*masks), image, serialize=True)
    ours = json_rows(plain["predictions"], (HEIGHT, WIDTH))
    assert ours["image"] == written["predictions"]["image"]
    assert len(ours["predictions"]) == len(written["predictions"]["predictions"]) > 1
    ids = {"detection_id", "prompt_detection_id"}  # new in each run
    rows = written["predictions"]["predictions"]
    for our_row, row in zip(ours["predictions"], rows, strict=True):
        assert our_row.keys() <= row.keys()
        assert {k: v for k, v in our_row.items() if k not in ids} == {
            k: row[k] for k in our_row.keys() - ids
        }


@pytest.mark.parametrize("crops", [[], [CENTRE_CROP]], ids=["image", "crop"])
@pytest.mark.parametrize("coordinates_system", ["own", "parent"])
def test_json_of_an_empty_answer_knows_the_size(
    crops: list, coordinates_system: str, fake_backend: FakeBackend
) -> None:
    image = "$steps.crop.crops" if crops else "$inputs.image"
    steps = [*crops, detect(image), segment(images=image, boxes=DETECTED)]
    definition = in_coordinates(workflow(*steps), coordinates_system)
    whole = scene(2 * HEIGHT, 2 * WIDTH)
    (answer,) = run(definition, fake_backend, whole, serialize=True)
    scale = 1 if crops and coordinates_system == "own" else 2
    assert answer == {
        "predictions": {
            "image": {"width": scale * WIDTH, "height": scale * HEIGHT},
            "predictions": [],
        },
        "scores": [],
    }


def test_json_keeps_who_the_rows_are(fake_backend: FakeBackend) -> None:
    boxes = sv.Detections(
        xyxy=np.array([A, B], dtype=float),
        confidence=np.array([0.5, 0.25]),
        class_id=np.array([4, 2]),
        tracker_id=np.array([77, 78]),
        data={"class_name": np.array(["coin", "cup"])},
    )
    definition = workflow(
        segment(boxes="$inputs.boxes", confidence_source="detector"),
        inputs=[batch_input("boxes", "object_detection_prediction")],
    )
    image = scene(HEIGHT, WIDTH)
    (answer,) = run(definition, fake_backend, image, boxes=[boxes], serialize=True)
    rows = answer["predictions"]["predictions"]
    names = ("class", "class_id", "confidence", "tracker_id")
    assert [tuple(row[name] for name in names) for row in rows] == [
        ("coin", 4, 0.5, 77),
        ("cup", 2, 0.25, 78),
    ]


IN_CROP = np.s_[HEIGHT // 2 : HEIGHT // 2 + HEIGHT, WIDTH // 2 : WIDTH // 2 + WIDTH]


@pytest.mark.parametrize("coordinates_system", ["own", "parent"])
def test_json_on_a_crop_keeps_every_mask_exactly(coordinates_system: str) -> None:
    on_crop = segment(images="$steps.crop.crops", points=ONE_OBJECT_A_MASK)
    definition = in_coordinates(workflow(CENTRE_CROP, on_crop), coordinates_system)
    image = scene(2 * HEIGHT, 2 * WIDTH)
    (answer,) = run(definition, ShapesBackend(*MASKS.values()), image, serialize=True)
    expected = np.array(list(MASKS.values()))
    if coordinates_system == "parent":
        expected = np.zeros((len(MASKS), 2 * HEIGHT, 2 * WIDTH), dtype=bool)
        expected[(slice(None), *IN_CROP)] = list(MASKS.values())
    back = through_json(answer["predictions"])
    np.testing.assert_array_equal(decoded(back), expected)
    assert len(answer["scores"]) == len(MASKS)
    # Boxes and masks are in the same coordinates; an empty mask has its prompt's box.
    full = [*MASKS].index("full")
    np.testing.assert_array_equal(back.xyxy[full], sv.mask_to_xyxy(expected[full][None])[0])


def test_json_on_a_crop_of_a_crop_keeps_every_mask_exactly() -> None:
    outer = {**CENTRE_CROP, "name": "outer", "width": WIDTH + 10, "height": HEIGHT + 6}
    inner = {
        **CENTRE_CROP,
        "images": "$steps.outer.crops",
        "x_center": (WIDTH + 10) // 2,
        "y_center": (HEIGHT + 6) // 2,
    }
    definition = workflow(outer, inner, segment(images="$steps.crop.crops", points=[[5, 5]]))
    image = scene(2 * HEIGHT, 2 * WIDTH)
    (answer,) = run(definition, ShapesBackend(MASKS["hole"]), image, serialize=True)
    expected = np.zeros((1, 2 * HEIGHT, 2 * WIDTH), dtype=bool)
    expected[(slice(None), *IN_CROP)] = MASKS["hole"]
    np.testing.assert_array_equal(decoded(through_json(answer["predictions"])), expected)


def test_writing_json_changes_no_rows() -> None:
    definition = workflow(
        CENTRE_CROP, segment(images="$steps.crop.crops", points=ONE_OBJECT_A_MASK)
    )
    image = scene(2 * HEIGHT, 2 * WIDTH)
    (result,) = run(definition, ShapesBackend(*MASKS.values()), image)
    before = copy.deepcopy(result["predictions"])
    serialise_predictions(result["predictions"])
    assert result["predictions"] == before
    assert RLE_MASK not in before.data


def test_json_has_the_columns_of_each_row(fake_backend: FakeBackend) -> None:
    definition = workflow(detect(), segment(boxes=DETECTED, points=[[1, 1]]))
    (answer,) = run(definition, fake_backend, scene(HEIGHT, WIDTH, A, B), serialize=True)
    rows = json.loads(json.dumps(answer["predictions"], allow_nan=False))["predictions"]
    assert [row["prompt_detection_id"] for row in rows] == ["id-0", "id-1", ""]
    assert [row["sam2_score"] for row in rows] == answer["scores"]


def test_predictions_of_another_type_are_left_to_the_engine() -> None:
    with pytest.raises(TypeError, match=r"expected sv\.Detections; got list"):
        serialise_predictions([])


KEYPOINT_PERSON = {
    "x": 15, "y": 18, "width": 20, "height": 24,
    "confidence": 0.9, "class": "person", "class_id": 0, "detection_id": "p",
    "keypoints": [{"x": 10, "y": 12, "confidence": 0.5, "class_id": 0, "class": "nose"}],
}  # fmt: skip


@pytest.mark.parametrize(
    ("points", "class_filter", "keypoints"),
    [
        (None, None, [KEYPOINT_PERSON["keypoints"]]),
        pytest.param([[3, 4]], None, [KEYPOINT_PERSON["keypoints"], []], id="points have none"),
        pytest.param(
            [[3, 4]],
            ["dog"],
            [[]],
            id="points alone are left",
        ),
    ],
)
def test_json_of_boxes_with_keypoints(
    points: Any, class_filter: Any, keypoints: list, fake_backend: FakeBackend
) -> None:
    definition = workflow(
        segment(boxes="$inputs.people", points=points, class_filter=class_filter),
        inputs=[batch_input("people", "keypoint_detection_prediction")],
    )
    people = {
        "image": {"width": WIDTH, "height": HEIGHT},
        "predictions": [KEYPOINT_PERSON],
    }
    image = scene(HEIGHT, WIDTH)
    (answer,) = run(definition, fake_backend, image, people=[people], serialize=True)
    rows = json.loads(json.dumps(answer["predictions"], allow_nan=False))["predictions"]
    assert [row.get("keypoints", []) for row in rows] == keypoints
