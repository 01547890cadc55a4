"""The block in workflows that the engine compiles and runs."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import supervision as sv

from sam2_block.backends.fake import FakeBackend
from tests.engine.workflows import (
    DETECTED,
    ShapesBackend,
    batch_input,
    detect,
    mask_of,
    parameter,
    run,
    scene,
    segment,
    workflow,
)

A, B, C = (10, 8, 30, 20), (40, 25, 60, 44), (5, 30, 20, 50)
DETECT_THEN_SEGMENT = workflow(detect(), segment(boxes=DETECTED))


def test_detector_upstream(fake_backend: FakeBackend) -> None:
    image = scene(60, 80, A, B)
    (result,) = run(DETECT_THEN_SEGMENT, fake_backend, image)
    rows = result["predictions"]
    np.testing.assert_array_equal(rows.mask, [mask_of(60, 80, A), mask_of(60, 80, B)])
    np.testing.assert_array_equal(rows.xyxy, sv.mask_to_xyxy(rows.mask))
    assert rows.class_id.tolist() == [0, 1]
    assert rows.data["class_name"].tolist() == ["blob 0", "blob 1"]
    assert rows.data["prompt_detection_id"].tolist() == ["id-0", "id-1"]
    assert result["scores"] == pytest.approx([0.9, 0.9])


def test_rows_have_all_that_the_engine_asks_for(fake_backend: FakeBackend) -> None:
    (result,) = run(DETECT_THEN_SEGMENT, fake_backend, scene(60, 80, A, B))
    rows = result["predictions"]
    assert rows.data["image_dimensions"].tolist() == [[60, 80]] * 2
    assert rows.data["prediction_type"].tolist() == ["instance-segmentation"] * 2
    assert rows.data["parent_id"].tolist() == rows.data["root_parent_id"].tolist() == ["image"] * 2
    assert rows.data["root_parent_coordinates"].tolist() == [[0, 0]] * 2
    assert rows.data["root_parent_dimensions"].tolist() == [[60, 80]] * 2
    assert len({*rows.data["detection_id"], *rows.data["prompt_detection_id"]}) == 4
    assert all(len(column) == 2 for column in rows.data.values())


def test_batch_of_images_of_different_sizes_one_without_detections(
    fake_backend: FakeBackend,
) -> None:
    images = [scene(60, 80, A, B), scene(30, 20), scene(100, 50, C)]
    results = run(DETECT_THEN_SEGMENT, fake_backend, images)
    assert [result["predictions"].mask.shape for result in results] == [
        (2, 60, 80),
        (0, 30, 20),
        (1, 100, 50),
    ]
    np.testing.assert_array_equal(results[2]["predictions"].mask[0], mask_of(100, 50, C))
    assert [len(result["scores"]) for result in results] == [2, 0, 1]
    # Nothing is asked about the image without detections.
    assert [len(prompts) for prompts in fake_backend.calls] == [2, 1]
    assert results[1]["predictions"].metadata["image_dimensions"] == [30, 20]


def test_crop_upstream_comes_back_in_coordinates_of_the_root(fake_backend: FakeBackend) -> None:
    crop = {
        "type": "roboflow_core/absolute_static_crop@v1",
        "name": "crop",
        "images": "$inputs.image",
        "x_center": 60,
        "y_center": 50,
        "width": 80,
        "height": 60,
    }  # from (20, 20)
    crops = "$steps.crop.crops"
    definition = workflow(crop, detect(crops), segment(images=crops, boxes=DETECTED))
    of_sam = definition["outputs"][0]
    definition["outputs"].append({**of_sam, "name": "own", "coordinates_system": "own"})
    inside, cut_off = (30, 28, 50, 40), (85, 70, 118, 95)
    (result,) = run(definition, fake_backend, scene(100, 120, inside, cut_off, (2, 2, 10, 10)))
    rows = result["predictions"]
    expected = [mask_of(100, 120, inside), mask_of(100, 120, (85, 70, 100, 80))]
    np.testing.assert_array_equal(rows.mask, expected)
    np.testing.assert_array_equal(rows.xyxy, sv.mask_to_xyxy(rows.mask))
    np.testing.assert_array_equal(result["own"].mask, rows.mask[:, 20:80, 20:100])
    assert result["own"].data["root_parent_coordinates"].tolist() == [[20, 20]] * 2
    assert result["own"].data["image_dimensions"].tolist() == [[60, 80]] * 2
    # It would be handed out on the grid of the crop.
    assert "rle_mask" not in rows.data


def test_dynamic_crops_upstream(fake_backend: FakeBackend) -> None:
    crop = {
        "type": "roboflow_core/dynamic_crop@v1",
        "name": "crop",
        "images": "$inputs.image",
        "predictions": "$inputs.regions",
    }
    crops = "$steps.crop.crops"
    definition = workflow(
        crop,
        detect(crops),
        segment(images=crops, boxes=DETECTED),
        inputs=[batch_input("regions", "object_detection_prediction")],
    )
    regions = sv.Detections(
        xyxy=np.array([[0.0, 0, 35, 25], [36, 20, 70, 50], [60, 0, 70, 10]]),
        class_id=np.zeros(3, dtype=int),
        data={"detection_id": np.array(["r0", "r1", "r2"])},
    )
    (result,) = run(definition, fake_backend, scene(60, 80, A, B), regions=[regions])
    first, second, without = result["predictions"]
    np.testing.assert_array_equal(first.mask, [mask_of(60, 80, A)])
    np.testing.assert_array_equal(second.mask, [mask_of(60, 80, B)])
    assert len(without) == 0
    assert [len(scores) for scores in result["scores"]] == [1, 1, 0]
    no_regions = sv.Detections.empty()
    (result,) = run(definition, fake_backend, scene(60, 80, A, B), regions=[no_regions])
    assert result == {"predictions": [], "scores": []}


def test_detections_as_an_input_of_the_workflow_are_never_changed(
    coin_detections: Callable[[], sv.Detections], coins: np.ndarray, fake_backend: FakeBackend
) -> None:
    definition = workflow(
        segment(boxes="$inputs.boxes", points=[[5, 5]]),
        inputs=[batch_input("boxes", "object_detection_prediction")],
    )
    detections = [coin_detections(), sv.Detections.empty()]
    before = copy.deepcopy(detections)
    first, second = run(definition, fake_backend, [coins, coins], boxes=detections)
    for came, was in zip(detections, before, strict=True):
        np.testing.assert_equal(vars(came), vars(was))
    assert first["predictions"].tracker_id.tolist() == [11, 12, 13, 14, -1]
    assert first["predictions"].data["metal"].tolist() == ["bronze", "silver", "bronze", "gold", ""]
    assert second["predictions"].data["class_name"].tolist() == ["foreground"]


@pytest.mark.parametrize(
    "kind",
    [
        "object_detection_prediction",
        "instance_segmentation_prediction",
        "rle_instance_segmentation_prediction",
        "keypoint_detection_prediction",
    ],
)
def test_boxes_of_every_kind_connect(kind: str, fake_backend: FakeBackend) -> None:
    definition = workflow(segment(boxes="$inputs.boxes"), inputs=[batch_input("boxes", kind)])
    detections = sv.Detections(xyxy=np.array([A], dtype=float))
    (result,) = run(definition, fake_backend, scene(60, 80), boxes=[detections])
    np.testing.assert_array_equal(result["predictions"].mask, [mask_of(60, 80, A)])


@pytest.mark.parametrize(
    ("kind", "points"),
    [
        ("labeled_points", [[[10, 20]], [{"x": 50, "y": 40}, {"x": 9, "y": 9, "positive": False}]]),
        ("list_of_values", [[[10, 20]], [[50, 40], [9, 9, False]]]),
    ],
)
def test_points_of_each_image(kind: str, points: list, fake_backend: FakeBackend) -> None:
    definition = workflow(segment(points="$inputs.points"), inputs=[batch_input("points", kind)])
    results = run(definition, fake_backend, [scene(60, 80), scene(60, 80)], points=points)
    expected = [mask_of(60, 80, (5, 15, 16, 26)), mask_of(60, 80, (45, 35, 56, 46))]
    for result, mask in zip(results, expected, strict=True):
        np.testing.assert_array_equal(result["predictions"].mask, [mask])
    assert [len(prompts[0].points) for prompts in fake_backend.calls] == [1, 2]


@pytest.mark.parametrize("points", ["$inputs.points", [[[10, 20]], [[50, 40]]]])
def test_points_for_all_images(points: object, fake_backend: FakeBackend) -> None:
    definition = workflow(segment(points=points), inputs=[parameter("points")])
    images = [scene(60, 80), scene(50, 70)]
    results = run(definition, fake_backend, images, points=[[[10, 20]], [[50, 40]]])
    assert [result["predictions"].mask.shape[0] for result in results] == [2, 2]
    for result, (height, width) in zip(results, [(60, 80), (50, 70)], strict=True):
        second = mask_of(height, width, (45, 35, 56, 46))
        np.testing.assert_array_equal(result["predictions"].mask[1], second)


def test_boxes_and_points_in_one_step(fake_backend: FakeBackend) -> None:
    definition = workflow(detect(), segment(boxes=DETECTED, points=[[50, 40]]))
    (result,) = run(definition, fake_backend, scene(60, 80, A))
    rows = result["predictions"]
    assert rows.data["class_name"].tolist() == ["blob 0", "foreground"]
    assert rows.data["prompt_detection_id"].tolist() == ["id-0", ""]


def test_image_of_which_the_points_are_none_is_skipped_by_the_engine(
    fake_backend: FakeBackend,
) -> None:
    # The engine's rule for a None in a batch, as after a condition: no run, None out.
    definition = workflow(
        segment(points="$inputs.points"), inputs=[batch_input("points", "labeled_points")]
    )
    first, second = run(definition, fake_backend, [scene(60, 80)] * 2, points=[None, [[10, 20]]])
    assert first == {"predictions": None, "scores": None}
    assert len(second["predictions"]) == 1


@pytest.mark.parametrize(
    ("came", "seen"),
    [((60, 80), (60, 80)), ((60, 80, 4), (60, 80, 3)), ((60, 80, 3), (60, 80, 3))],
    ids=["grey", "BGRA", "BGR"],
)
def test_image_reaches_the_backend_as_it_is(came: tuple, seen: tuple) -> None:
    image = np.random.default_rng(0).integers(0, 256, came, dtype=np.uint8)
    backend = ShapesBackend(mask_of(60, 80, A))
    (result,) = run(workflow(segment(points=[[12, 10]])), backend, image)
    assert result["predictions"].mask.shape == (1, 60, 80)
    np.testing.assert_array_equal(backend.images[0], image[..., :3] if len(seen) == 3 else image)


def test_one_pixel_image(fake_backend: FakeBackend) -> None:
    (result,) = run(workflow(segment(points=[[0, 0]])), fake_backend, scene(1, 1))
    assert result["predictions"].mask.tolist() == [[[True]]]


@pytest.mark.parametrize(
    ("how", "given", "asked"),
    [
        ("literal", True, True),
        ("literal", False, False),
        pytest.param("literal", None, True, id="null is the default"),
        ("input", True, True),
        ("input", False, False),
        ("input", None, True),
    ],
)
def test_multimask_output(how: str, given: object, asked: bool) -> None:
    field = given if how == "literal" else "$inputs.multimask"
    definition = workflow(
        segment(points=[[5, 5]], multimask_output=field), inputs=[parameter("multimask")]
    )
    backend = ShapesBackend(mask_of(60, 80, A))
    run(definition, backend, scene(60, 80), multimask=given)
    assert backend.options == [{"version": "demo", "multimask_output": asked}]
