"""Rows that another block fills in wrongly, through the engine; each form is in the unit tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import supervision as sv
from roboflow_workflows.errors import RuntimeInputError

from sam2_block.backends.fake import FakeBackend
from tests.engine.workflows import batch_input, run, scene, segment, workflow

PHOTO = scene(60, 80)
DEFINITION = workflow(
    segment(boxes="$inputs.boxes"), inputs=[batch_input("boxes", "object_detection_prediction")]
)
NAN = float("nan")


def rows_with(column: str, values: Any) -> sv.Detections:
    rows = sv.Detections(xyxy=np.array([[1.0, 1, 5, 5], [2, 2, 9, 9]]), class_id=np.array([0, 1]))
    if hasattr(rows, column):
        setattr(rows, column, values)
    else:
        rows.data[column] = values
    return rows


@pytest.mark.parametrize(
    ("column", "values", "says"),
    [
        ("tracker_id", ["a", "b"], "tracker_id, row 0: expected a whole number of 64 bits"),
        ("tracker_id", [1, 2**64], "tracker_id, row 1: expected a whole number of 64 bits"),
        ("tracker_id", [1], "tracker_id: expected 2 values, one for each box; got 1."),
        ("tracker_id", 5, "tracker_id: expected a whole number of 64 bits, or None if untracked"),
        ("class_id", np.array([0.5, 1]), "class_id, row 0: expected a whole number of 64 bits"),
        ("confidence", ["high", "low"], "confidence, row 0: expected a number; got 'high'."),
        ("class_name", np.array(["a"]), "class_name: expected 2 values, one for each box; got 1."),
        ("class_name", b"ab", "class_name: expected a name for each row; got b'ab'."),
        ("note", None, "note: expected an array or a list of 2 values; got None."),
        ("detection_id", np.array(["a", "b", "c"]), "detection_id: expected 2 values"),
        ("xyxy", np.zeros((2, 4), complex), "xyxy, row 0: expected a number; got 0j."),
        ("mask", np.zeros((60, 80), bool), "mask: expected None, sv.CompactMask or an array"),
        # What the engine keeps of where rows come from.
        ("image_dimensions", [5, 5], "image_dimensions, row 0: expected two whole numbers"),
        ("image_dimensions", [[1, 2, 3]] * 2, "image_dimensions, row 0: expected two"),
        ("image_dimensions", [["a", "b"]] * 2, "image_dimensions, row 0: expected two whole num"),
        ("image_dimensions", [[NAN, 5]] * 2, "image_dimensions, row 0: expected two whole numbers"),
        ("root_parent_coordinates", ["x", "y"], "root_parent_coordinates, row 0: expected two"),
        ("root_parent_dimensions", np.array([1, 2]), "root_parent_dimensions, row 0: expected two"),
        ("parent_coordinates", [{}, {}], "parent_coordinates, row 0: expected two whole numbers"),
    ],
)  # fmt: skip
def test_column_that_cannot_be_read_is_named(
    column: str, values: Any, says: str, fake_backend: FakeBackend
) -> None:
    given = [rows_with("class_id", np.array([0, 1])), rows_with(column, values)]
    with pytest.raises(RuntimeInputError) as caught:
        run(DEFINITION, fake_backend, [PHOTO, PHOTO], boxes=given)
    assert str(caught.value).startswith(f"image 1: boxes: {says}")


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("tracker_id", [None, 3]),
        ("tracker_id", np.array([NAN, 3])),
        ("class_id", np.array([0.0, 1.0])),
        ("confidence", [None, 0.5]),
        ("confidence", np.array([NAN, np.inf])),
        ("class_name", ["a", "b"]),
        ("image_dimensions", [None, None]),
        ("image_dimensions", [[None, 60], [60, None]]),
        ("image_dimensions", [["60", "80"], [60.0, 80.0]]),
        ("detection_id", [1, None]),
        ("note", [{}, [1]]),
        ("xyxy", [[1, 1, 5, 5], [2, 2, 9, NAN]]),
    ],
)
@pytest.mark.parametrize("serialize", [False, True])
def test_column_that_can_be_read_is(
    column: str, values: Any, serialize: bool, fake_backend: FakeBackend
) -> None:
    given = rows_with(column, values)
    (result,) = run(DEFINITION, fake_backend, PHOTO, boxes=[given], serialize=serialize)
    assert len(result["scores"]) == 2


@pytest.mark.parametrize("column", ["keypoints_xy", "xyxyxyxy"])
@pytest.mark.parametrize("values", [["ab", "cd"], [[1, 2, 3]] * 2, [{"x": 1}] * 2, [5, 5]], ids=str)
def test_points_that_cannot_be_moved_are_named(
    column: str, values: Any, fake_backend: FakeBackend
) -> None:
    crop = {
        "type": "roboflow_core/absolute_static_crop@v1",
        "name": "crop",
        "images": "$inputs.image",
        **{"x_center": 40, "y_center": 30, "width": 40, "height": 30},
    }
    definition = workflow(
        crop,
        segment(images="$steps.crop.crops", boxes="$inputs.boxes"),
        inputs=[batch_input("boxes", "object_detection_prediction")],
    )
    given = rows_with(column, values)
    given.data |= {
        "root_parent_id": np.array(["image"] * 2),
        "root_parent_coordinates": np.zeros((2, 2), int),
        "root_parent_dimensions": np.array([[60, 80]] * 2),
        "image_dimensions": np.array([[60, 80]] * 2),
    }
    with pytest.raises(RuntimeInputError, match=rf"boxes: {column}, row 0: expected points"):
        run(definition, fake_backend, PHOTO, boxes=[given])


@pytest.mark.parametrize("serialize", [False, True])
@pytest.mark.parametrize("invalid_boxes", ["empty", "drop"])
def test_invalid_boxes_never_stop_a_batch(
    invalid_boxes: str, serialize: bool, fake_backend: FakeBackend
) -> None:
    definition = workflow(
        segment(boxes="$inputs.boxes", invalid_boxes=invalid_boxes),
        inputs=[batch_input("boxes", "object_detection_prediction")],
    )
    bad = [[NAN] * 4, [1, 1, np.inf, 5], [1, 1, 5, 1e39], [9, 9, 1, 1], [90, 1, 95, 5]]
    given = [rows_with("xyxy", np.array([[1.0, 1, 5, 5], box])) for box in bad]
    results = run(definition, fake_backend, [PHOTO] * 5, boxes=given, serialize=serialize)
    count = 2 if invalid_boxes == "empty" else 1
    assert [len(result["scores"]) for result in results] == [count] * 5
    if not serialize:
        for result in results:
            boxes = result["predictions"].xyxy
            assert (boxes >= 0).all()
            assert (boxes <= [80, 60, 80, 60]).all()


@pytest.mark.parametrize(
    "pixels", [np.zeros(5, np.uint8), np.zeros((), np.uint8), np.zeros(0, np.uint8)], ids=str
)
@pytest.mark.parametrize("boxes", [True, False])
def test_image_of_fewer_than_two_dimensions(
    pixels: np.ndarray, boxes: bool, fake_backend: FakeBackend
) -> None:
    definition = DEFINITION if boxes else workflow(segment(points=[[1, 1]]))
    given = {"boxes": [rows_with("class_id", np.array([0, 1]))] * 2} if boxes else {}
    with pytest.raises(RuntimeInputError, match=r"^image 1: expected a uint8 array, .* of shape"):
        run(definition, fake_backend, [PHOTO, pixels], **given)
