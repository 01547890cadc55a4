"""Prompts found on one image and applied on another: moved by what the engine knows, or refused."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import supervision as sv
from roboflow_workflows.errors import RuntimeInputError, StepInputDimensionalityError

from sam2_block.backends.fake import FakeBackend
from tests.engine.workflows import (
    DETECTED,
    batch_input,
    detect,
    mask_of,
    run,
    scene,
    segment,
    workflow,
)

HEIGHT, WIDTH = 100, 140
BLOB = (60, 40, 80, 55)
WHOLE, OUTER, INNER, SIBLING = (
    "$inputs.image",
    "$steps.outer.crops",
    "$steps.inner.crops",
    "$steps.sibling.crops",
)
# Left, top, right, bottom in the input image.
PLACES = {
    WHOLE: (0, 0, WIDTH, HEIGHT),
    OUTER: (30, 20, 130, 90),
    INNER: (50, 30, 100, 70),
    SIBLING: (0, 10, 100, 60),
}


def crop(name: str, of: str = WHOLE) -> dict[str, Any]:
    left, top, right, bottom = PLACES[f"$steps.{name}.crops"]
    x, y = PLACES[of][:2]
    return {
        "type": "roboflow_core/absolute_static_crop@v1",
        "name": name,
        "images": of,
        "x_center": (left + right) // 2 - x,
        "y_center": (top + bottom) // 2 - y,
        "width": right - left,
        "height": bottom - top,
    }


CROPS = [crop("outer"), crop("inner", OUTER), crop("sibling")]


def in_both_systems(definition: dict[str, Any]) -> dict[str, Any]:
    predictions = definition["outputs"][0]
    own = {**predictions, "name": "own", "coordinates_system": "own"}
    return {**definition, "outputs": [*definition["outputs"], own]}


@pytest.mark.parametrize("applied_on", PLACES, ids=lambda name: name.split(".")[1])
@pytest.mark.parametrize("found_on", PLACES, ids=lambda name: name.split(".")[1])
def test_boxes_found_on_one_image_are_applied_on_another(
    found_on: str, applied_on: str, fake_backend: FakeBackend
) -> None:
    first = segment(images=found_on, boxes=DETECTED, name="found")
    definition = in_both_systems(
        workflow(
            *CROPS,
            detect(found_on),
            first,
            segment(images=applied_on, boxes="$steps.found.predictions"),
        )
    )
    (result,) = run(definition, fake_backend, scene(HEIGHT, WIDTH, BLOB))
    # The fake's mask fills the box; the tight box that the first step gives ends a pixel before.
    expected = mask_of(HEIGHT, WIDTH, (BLOB[0], BLOB[1], BLOB[2] - 1, BLOB[3] - 1))
    np.testing.assert_array_equal(result["predictions"].mask, [expected])
    left, top, right, bottom = PLACES[applied_on]
    np.testing.assert_array_equal(result["own"].mask, [expected[top:bottom, left:right]])


def test_boxes_beside_the_crop_give_empty_masks(fake_backend: FakeBackend) -> None:
    outside = (4, 4, 20, 12)
    definition = workflow(
        CROPS[0],
        detect(),
        segment(boxes=DETECTED, name="found"),
        segment(images=OUTER, boxes="$steps.found.predictions"),
    )
    (result,) = run(definition, fake_backend, scene(HEIGHT, WIDTH, outside, BLOB))
    rows = result["predictions"]
    assert rows.mask.any(axis=(1, 2)).tolist() == [False, True]
    # The row that is empty still stands where its prompt was, in the input image.
    np.testing.assert_array_equal(rows.xyxy[0], (4, 4, 19, 11))


def rows_of(image: str, size_hw: tuple[int, int], **data: Any) -> sv.Detections:
    """Return one detection of a box at (10, 10) that was found on an input `image`."""
    return sv.Detections(
        xyxy=np.array([[10.0, 10, 20, 20]]),
        class_id=np.array([0]),
        data={
            "class_name": np.array(["thing"]),
            "image_dimensions": np.array([size_hw]),
            "parent_id": np.array([image]),
            "root_parent_id": np.array([image]),
            "root_parent_coordinates": np.array([[0, 0]]),
            "root_parent_dimensions": np.array([size_hw]),
            **data,
        },
    )


def given_boxes(images: str = WHOLE) -> dict[str, Any]:
    return workflow(
        CROPS[0],
        segment(images=images, boxes="$inputs.boxes"),
        inputs=[batch_input("boxes", "object_detection_prediction")],
    )


def test_keypoints_and_oriented_boxes_move_along(fake_backend: FakeBackend) -> None:
    points = np.array([[[41.0, 31], [45, 35]]])
    corners = np.array([[[40.0, 30], [50, 30], [50, 40], [40, 40]]])
    boxes = rows_of("image", (HEIGHT, WIDTH), keypoints_xy=points, xyxyxyxy=corners)
    boxes.xyxy = np.array([[40.0, 30, 50, 40]])
    before = copy.deepcopy(boxes)
    definition = in_both_systems(given_boxes(OUTER))
    (result,) = run(definition, fake_backend, scene(HEIGHT, WIDTH), boxes=[boxes])
    assert boxes == before
    own, moved = result["own"].data, result["predictions"].data
    np.testing.assert_array_equal(own["keypoints_xy"], points - [30, 20])
    np.testing.assert_array_equal(own["xyxyxyxy"], corners - [30, 20])
    np.testing.assert_array_equal(moved["keypoints_xy"], points)
    np.testing.assert_array_equal(moved["xyxyxyxy"], corners)


def test_keypoints_of_different_numbers_move_along(fake_backend: FakeBackend) -> None:
    boxes = sv.Detections.merge([rows_of("image", (HEIGHT, WIDTH))] * 3)
    boxes.xyxy += [30, 20, 30, 20]
    points = np.empty(3, dtype=object)
    points[:] = [np.array([[41.0, 31]]), [], np.array([[1.0, 2], [3, 4]])]
    boxes.data["keypoints_xy"] = points
    definition = in_both_systems(given_boxes(OUTER))
    (result,) = run(definition, fake_backend, scene(HEIGHT, WIDTH), boxes=[boxes])
    moved = [np.asarray(row).tolist() for row in result["own"].data["keypoints_xy"]]
    assert moved == [[[11, 11]], [], [[-29, -18], [-27, -16]]]


def test_boxes_of_another_image_of_the_same_size_are_taken(fake_backend: FakeBackend) -> None:
    # As predictions are that come in with the request: their root is named after the input.
    boxes = rows_of("boxes", (HEIGHT, WIDTH))
    (result,) = run(given_boxes(), fake_backend, scene(HEIGHT, WIDTH), boxes=[boxes])
    expected = mask_of(HEIGHT, WIDTH, (10, 10, 20, 20))
    np.testing.assert_array_equal(result["predictions"].mask, [expected])


@pytest.mark.parametrize("images", [WHOLE, OUTER])
def test_boxes_of_another_image_of_another_size_are_refused(
    images: str, fake_backend: FakeBackend
) -> None:
    boxes = rows_of("boxes", (480, 640))
    width, height = (WIDTH, HEIGHT) if images == WHOLE else (100, 70)
    with pytest.raises(RuntimeInputError) as caught:
        run(given_boxes(images), fake_backend, scene(HEIGHT, WIDTH), boxes=[boxes])
    assert str(caught.value) == (
        "image 0: box 0 was found on an image of 640x480 pixels, and this one has"
        f" {width}x{height}; nothing says how the two belong together. Connect predictions that"
        " were made on this image, or on the input image that it was cut from."
    )
    assert fake_backend.calls == []


@pytest.mark.parametrize("unknown", ["image_dimensions", "root_parent_id"])
def test_boxes_that_say_nothing_are_taken_as_they_are(
    unknown: str, fake_backend: FakeBackend
) -> None:
    boxes = rows_of("boxes", (70, 100))
    if unknown == "image_dimensions":
        boxes.data[unknown] = np.array([[None, None]])
    else:
        del boxes.data[unknown]
    definition = in_both_systems(given_boxes(OUTER))
    (result,) = run(definition, fake_backend, scene(HEIGHT, WIDTH), boxes=[boxes])
    np.testing.assert_array_equal(result["own"].mask, [mask_of(70, 100, (10, 10, 20, 20))])


def test_boxes_of_the_whole_input_are_so_wherever_they_say_to_be(fake_backend: FakeBackend) -> None:
    # As `detections_list_rollup` gives them.
    boxes = rows_of("image", (HEIGHT, WIDTH), root_parent_coordinates=np.array([[30, 20]]))
    (result,) = run(given_boxes(), fake_backend, scene(HEIGHT, WIDTH), boxes=[boxes])
    expected = mask_of(HEIGHT, WIDTH, (10, 10, 20, 20))
    np.testing.assert_array_equal(result["predictions"].mask, [expected])


def test_boxes_of_crops_do_not_connect_to_the_image(fake_backend: FakeBackend) -> None:
    """Many crops of one image against one image: which boxes are meant cannot be known."""
    regions = {
        "type": "roboflow_core/dynamic_crop@v1",
        "name": "crop",
        "images": WHOLE,
        "predictions": DETECTED,
    }
    on_crops = {**detect("$steps.crop.crops"), "name": "again"}
    definition = workflow(detect(), regions, on_crops, segment(boxes="$steps.again.predictions"))
    with pytest.raises(StepInputDimensionalityError):
        run(definition, fake_backend, scene(HEIGHT, WIDTH, BLOB))
