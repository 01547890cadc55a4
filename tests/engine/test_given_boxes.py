"""Boxes that come in from outside the workflow, and what they say of where they were found."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import supervision as sv
from roboflow_workflows.errors import RuntimeInputError

from sam2_block.backends.fake import FakeBackend
from tests.engine.crops import BLOB, CROPS, HEIGHT, OUTER, PLACES, WHOLE, WIDTH, found
from tests.engine.workflows import (
    batch_input,
    in_both_systems,
    in_coordinates,
    mask_of,
    run,
    scene,
    segment,
    workflow,
)


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
        "image 0: box 0 was detected on an image of 640x480 pixels, and this one has"
        f" {width}x{height}; the row does not record how the two are related. Connect predictions"
        " that were made on this image, or on the input image that it was cut from."
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


def test_rows_of_a_crop_that_comes_back_as_an_image_of_its_own(fake_backend: FakeBackend) -> None:
    first = workflow(*CROPS[:1], *found(OUTER), outputs={"rows": "$steps.found.predictions"})
    photo = scene(HEIGHT, WIDTH, BLOB)
    (answer,) = run(in_coordinates(first, "own"), fake_backend, photo, serialize=True)
    left, top, right, bottom = PLACES[OUTER]
    cut_out = photo[top:bottom, left:right]
    definition = workflow(
        segment(boxes="$inputs.boxes"),
        inputs=[batch_input("boxes", "rle_instance_segmentation_prediction")],
    )
    (result,) = run(definition, fake_backend, cut_out, boxes=[answer["rows"]])
    x, y = BLOB[0] - left, BLOB[1] - top
    expected = mask_of(70, 100, (x, y, x + 20, y + 15))
    np.testing.assert_array_equal(result["predictions"].mask, [expected])


def test_sizes_are_compared_as_numbers(fake_backend: FakeBackend) -> None:
    boxes = rows_of("boxes", (HEIGHT, WIDTH))
    boxes.data["image_dimensions"] = np.array([[str(HEIGHT), str(WIDTH)]])
    (result,) = run(given_boxes(), fake_backend, scene(HEIGHT, WIDTH), boxes=[boxes])
    assert result["predictions"].mask.any()


def test_points_beside_boxes_with_ragged_keypoints(fake_backend: FakeBackend) -> None:
    boxes = sv.Detections.merge([rows_of("image", (HEIGHT, WIDTH))] * 2)
    boxes.xyxy += [30, 20, 30, 20]
    boxes.data["keypoints_xy"] = np.empty(2, dtype=object)
    boxes.data["keypoints_xy"][:] = [np.array([[41.0, 31]]), np.array([[1.0, 2], [3, 4]])]
    definition = given_boxes(OUTER)
    definition["steps"][-1]["points"] = [[5, 5]]
    (result,) = run(definition, fake_backend, scene(HEIGHT, WIDTH), boxes=[boxes])
    assert [len(row) for row in result["predictions"].data["keypoints_xy"]] == [1, 2, 0]
