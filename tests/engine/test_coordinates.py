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


def found(images: str) -> list[dict[str, Any]]:
    """Return the step `found`: boxes that say where they come from, as a core detector's do."""
    return [detect(images), segment(images=images, boxes=DETECTED, name="found")]


def dynamic_crop(images: str) -> dict[str, Any]:
    return {
        "type": "roboflow_core/dynamic_crop@v1",
        "name": "crop",
        "images": images,
        "predictions": "$steps.found.predictions",
    }


@pytest.mark.parametrize("images", [WHOLE, OUTER])
def test_boxes_that_a_dynamic_crop_gives_are_applied_on_its_crops(
    images: str, fake_backend: FakeBackend
) -> None:
    on_crops = segment(images="$steps.crop.crops", boxes="$steps.crop.predictions")
    definition = workflow(CROPS[0], *found(images), dynamic_crop(images), on_crops)
    (result,) = run(definition, fake_backend, scene(HEIGHT, WIDTH, BLOB, (40, 70, 52, 80)))
    for rows, (left, top, right, bottom) in zip(
        result["predictions"], [BLOB, (40, 70, 52, 80)], strict=True
    ):
        expected = mask_of(HEIGHT, WIDTH, (left, top, right - 1, bottom - 1))
        np.testing.assert_array_equal(rows.mask, [expected])


@pytest.mark.parametrize("images", [WHOLE, OUTER])
def test_boxes_that_were_rolled_up_are_applied_on_their_image(
    images: str, fake_backend: FakeBackend
) -> None:
    """The engine leaves the place of a crop beside rows in the pixels of its parent."""
    rolled_up = {
        "type": "roboflow_core/detections_list_rollup@v1",
        "name": "rollup",
        "parent_detection": "$steps.found.predictions",
        "child_detections": "$steps.collapsed.output",
    }
    collapsed = {
        "type": "roboflow_core/dimension_collapse@v1",
        "name": "collapsed",
        "data": "$steps.inner.predictions",
    }
    crops = "$steps.crop.crops"
    definition = workflow(
        CROPS[0],
        *found(images),
        dynamic_crop(images),
        {**detect(crops), "name": "again"},
        segment(images=crops, boxes="$steps.again.predictions", name="inner"),
        collapsed,
        rolled_up,
        segment(images=images, boxes="$steps.rollup.rolled_up_detections"),
    )
    (result,) = run(definition, fake_backend, scene(HEIGHT, WIDTH, BLOB))
    (mask,) = result["predictions"].mask
    blob = mask_of(HEIGHT, WIDTH, BLOB)
    assert not (mask & ~blob).any()
    assert mask.sum() > 0.75 * blob.sum()


def resized(images: str, width: int, height: int) -> dict[str, Any]:
    return {
        "type": "roboflow_core/image_preprocessing@v1",
        "name": "resized",
        "image": images,
        "task_type": "resize",
        "width": width,
        "height": height,
    }


@pytest.mark.parametrize("size", [(WIDTH, HEIGHT), (200, 140), (50, 35)])
def test_boxes_found_on_a_resized_crop_are_applied_on_it(
    size: tuple[int, int], fake_backend: FakeBackend
) -> None:
    images = "$steps.resized.image"
    definition = in_both_systems(
        workflow(
            CROPS[0],
            resized(OUTER, *size),
            *found(images),
            segment(images=images, boxes="$steps.found.predictions"),
            outputs={"predictions": "$steps.sam.predictions", "first": "$steps.found.predictions"},
        )
    )
    definition["outputs"] = [
        {**output, "coordinates_system": "own"} for output in definition["outputs"]
    ]
    (result,) = run(definition, fake_backend, scene(HEIGHT, WIDTH, BLOB))
    left, top, right, bottom = result["first"].xyxy[0].astype(int)
    expected = mask_of(size[1], size[0], (left, top, right, bottom))
    np.testing.assert_array_equal(result["predictions"].mask, [expected])


def test_boxes_are_taken_as_they_are_where_their_image_was_resized_or_warped(
    fake_backend: FakeBackend,
) -> None:
    images = "$steps.resized.image"
    definition = workflow(
        resized(WHOLE, 100, 80),
        *found(WHOLE),
        segment(images=images, boxes="$steps.found.predictions"),
    )
    (result,) = run(definition, fake_backend, scene(HEIGHT, WIDTH, BLOB))
    expected = mask_of(80, 100, (BLOB[0], BLOB[1], BLOB[2] - 1, BLOB[3] - 1))
    np.testing.assert_array_equal(result["predictions"].mask, [expected])


def test_boxes_found_on_an_enlarged_crop_do_not_go_with_the_image(
    fake_backend: FakeBackend,
) -> None:
    definition = workflow(
        CROPS[0],
        resized(OUTER, 200, 140),
        *found("$steps.resized.image"),
        segment(images=WHOLE, boxes="$steps.found.predictions"),
    )
    with pytest.raises(
        RuntimeInputError, match=r"box 0 .* 200x140 .* was resized after it was cut"
    ):
        run(definition, fake_backend, scene(HEIGHT, WIDTH, BLOB))


def test_rows_of_a_crop_that_comes_back_as_an_image_of_its_own(fake_backend: FakeBackend) -> None:
    first = workflow(*CROPS[:1], *found(OUTER), outputs={"rows": "$steps.found.predictions"})
    first["outputs"][0]["coordinates_system"] = "own"
    photo = scene(HEIGHT, WIDTH, BLOB)
    (answer,) = run(first, fake_backend, photo, serialize=True)
    left, top, right, bottom = PLACES[OUTER]
    cut_out = photo[top:bottom, left:right]
    definition = workflow(
        segment(boxes="$inputs.boxes"),
        inputs=[batch_input("boxes", "rle_instance_segmentation_prediction")],
    )
    (result,) = run(definition, fake_backend, cut_out, boxes=[answer["rows"]])
    x, y = BLOB[0] - left, BLOB[1] - top
    expected = mask_of(70, 100, (x, y, x + 19, y + 14))
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
