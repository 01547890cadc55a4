"""Boxes found on one image and segmented on another, in tensor mode."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from roboflow_workflows.errors import RuntimeInputError

from sam2_block.backends.fake import FakeBackend
from tests.engine.workflows import DETECTED, batch_input, detect, mask_of, run, segment, workflow
from tests.engine.workflows import scene as painted
from tests.tensor.native import Detections, column, detections, masks, with_keypoints

HEIGHT, WIDTH = 100, 150
CROP = {
    "type": "roboflow_core/absolute_static_crop@v1",
    "name": "crop",
    "images": "$inputs.image",
    "x_center": 80,
    "y_center": 55,
    "width": 100,
    "height": 70,
}  # from (30, 20)
ON_CROP = "$steps.crop.crops"
BLOB = (50, 40, 70, 60)
BLANK = painted(HEIGHT, WIDTH)


def found_on_image(box: tuple[float, ...], height: int = HEIGHT, width: int = WIDTH) -> Detections:
    boxes = detections(box)
    boxes.image_metadata.update(
        root_parent_id="image",
        root_parent_coordinates=[0, 0],
        image_dimensions=[height, width],
    )
    return boxes


def given_boxes(**fields: Any) -> dict[str, Any]:
    definition = workflow(
        CROP,
        segment(images=ON_CROP, boxes="$inputs.boxes", **fields),
        inputs=[batch_input("boxes", "*")],
    )
    of_sam = definition["outputs"][0]
    definition["outputs"].append({**of_sam, "name": "own", "coordinates_system": "own"})
    return definition


@pytest.mark.parametrize(
    ("found_on", "segmented_on"), [("$inputs.image", ON_CROP), (ON_CROP, "$inputs.image")]
)
def test_boxes_of_an_image_and_of_its_crop(
    found_on: str, segmented_on: str, fake_backend: FakeBackend
) -> None:
    definition = workflow(
        CROP,
        detect(found_on),
        segment(images=found_on, boxes=DETECTED, name="first"),
        segment(images=segmented_on, boxes="$steps.first.predictions"),
    )
    (result,) = run(definition, fake_backend, painted(HEIGHT, WIDTH, BLOB))
    # The tight box that the first step gives ends at the last pixel, and the prompt behind it.
    expected = mask_of(HEIGHT, WIDTH, BLOB)
    np.testing.assert_array_equal(masks(result["predictions"]), [expected])


def test_keypoints_and_corners_move_along(fake_backend: FakeBackend) -> None:
    key_points, boxes = with_keypoints(found_on_image((40, 30, 50, 40)))
    corners = np.array([[40, 30], [50, 30], [50, 40], [40, 40]])
    boxes.bboxes_metadata[0]["xyxyxyxy"] = corners
    before = repr(boxes)
    definition = given_boxes(points=[[5, 5]])
    (result,) = run(definition, fake_backend, BLANK, boxes=[(key_points, boxes)])
    assert repr(boxes) == before
    own, moved = result["own"], result["predictions"]
    assert column(own, "keypoints_xy") == [[[11, 11]], None]
    assert column(moved, "keypoints_xy") == [[[41, 31]], None]
    np.testing.assert_array_equal(column(own, "xyxyxyxy")[0], corners - [30, 20])
    np.testing.assert_array_equal(column(moved, "xyxyxyxy")[0], corners)
    np.testing.assert_array_equal(masks(own)[0], mask_of(70, 100, (10, 10, 20, 20)))


def test_boxes_of_another_image_of_another_size_are_refused(fake_backend: FakeBackend) -> None:
    boxes = found_on_image((40, 30, 50, 40), 480, 640)
    boxes.image_metadata["root_parent_id"] = "boxes"
    with pytest.raises(
        RuntimeInputError, match="image 0: box 0 was detected on an image of 640x480"
    ):
        run(given_boxes(), fake_backend, BLANK, boxes=[boxes])


def test_boxes_that_say_nothing_are_taken_as_they_are(fake_backend: FakeBackend) -> None:
    boxes = detections((10, 10, 20, 20))
    (result,) = run(given_boxes(), fake_backend, BLANK, boxes=[boxes])
    np.testing.assert_array_equal(masks(result["own"]), [mask_of(70, 100, (10, 10, 20, 20))])
