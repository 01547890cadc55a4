"""Prompts found on one image and applied on another: moved by what the engine knows, or refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from roboflow_workflows.errors import RuntimeInputError, StepInputDimensionalityError

from sam2_block.backends.fake import FakeBackend
from tests.engine.crops import BLOB, CROPS, HEIGHT, OUTER, PLACES, WHOLE, WIDTH, found
from tests.engine.workflows import (
    DETECTED,
    detect,
    in_both_systems,
    in_coordinates,
    mask_of,
    run,
    scene,
    segment,
    workflow,
)


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
    # The tight box that the first step gives ends at the last pixel, and the prompt behind it.
    expected = mask_of(HEIGHT, WIDTH, BLOB)
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
    # The row that is empty stands inside the crop: at its corner, here in the input image.
    np.testing.assert_array_equal(rows.xyxy[0], (30, 20, 30, 20))


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
        # The engine's crop is cut off before the last pixel, and the mask with it.
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
    (result,) = run(in_coordinates(definition, "own"), fake_backend, scene(HEIGHT, WIDTH, BLOB))
    left, top, right, bottom = result["first"].xyxy[0].astype(int)
    expected = mask_of(size[1], size[0], (left, top, right + 1, bottom + 1))
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
    expected = mask_of(80, 100, BLOB)
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
