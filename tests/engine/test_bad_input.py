"""Each bad value that comes in when a workflow runs, and what its caller is told."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import supervision as sv
from roboflow_workflows.errors import RuntimeInputError, StepExecutionError

from sam2_block.backends.fake import FakeBackend
from sam2_block.errors import CheckpointNotFoundError
from tests.engine.workflows import (
    DETECTED,
    batch_input,
    detect,
    parameter,
    run,
    scene,
    segment,
    workflow,
)

PHOTO = scene(60, 80)
POINT = [[5, 5]]


def boxes(*xyxy: tuple[float, ...]) -> sv.Detections:
    return sv.Detections(xyxy=np.array(xyxy, dtype=float))


@pytest.mark.parametrize(
    ("images", "says"),
    [
        (PHOTO.astype(np.float32), "got float32 of shape (60, 80, 3)."),
        (PHOTO[..., :2], "got 2 channels (shape (60, 80, 2))."),
        (np.zeros((2, 60, 80, 3), np.uint8), "got uint8 of shape (2, 60, 80, 3)."),
        (np.zeros((2, 8193, 3), np.uint8), "1 to 8192 pixels; got 8193 wide, 2 high. Resize or"),
        (np.zeros((0, 8, 3), np.uint8), "got 8 wide, 0 high."),
    ],
)
def test_image(images: np.ndarray, says: str, fake_backend: FakeBackend) -> None:
    with pytest.raises(RuntimeInputError) as caught:
        run(workflow(segment(points=POINT)), fake_backend, [PHOTO, images])
    assert str(caught.value).startswith("image 1: expected ")
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("bad", "fields", "says"),
    [
        (
            boxes((1, 1, 5, 5), (1, np.nan, 3, 3)),
            {"invalid_boxes": "error"},
            "image 1: box 1: [1, nan, 3, 3] has a coordinate that is not a finite number of 32"
            " bits. Set invalid_boxes to 'empty' to get an empty mask instead, or to 'drop' to"
            " leave the box out.",
        ),
        (
            boxes((1, 1, 1e39, 3)),
            {"invalid_boxes": "error"},
            "image 1: box 0: [1, 1, 1e+39, 3] has a coordinate that is not a finite number of 32"
            " bits. Set invalid_boxes to 'empty' to get an empty mask instead, or to 'drop' to"
            " leave the box out.",
        ),
        (
            boxes((1, 1, 5, 5), (90, 1, 95, 5)),
            {"invalid_boxes": "error"},
            "image 1: box 1: [90, 1, 95, 5] has no area inside the image (80 wide, 60 high);"
            " expected left < right and top < bottom. Set invalid_boxes to 'empty' to get an empty"
            " mask instead, or to 'drop' to leave the box out.",
        ),
    ],
)
def test_box(
    bad: sv.Detections, fields: dict[str, Any], says: str, fake_backend: FakeBackend
) -> None:
    definition = workflow(
        segment(boxes="$inputs.boxes", **fields),
        inputs=[batch_input("boxes", "object_detection_prediction")],
    )
    with pytest.raises(RuntimeInputError) as caught:
        run(definition, fake_backend, [PHOTO, PHOTO], boxes=[boxes((1, 1, 5, 5)), bad])
    assert str(caught.value) == says


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param([[1, 2, 3, 4]], id="bare list"),
        pytest.param({"predictions": []}, id="without the image's size"),
        pytest.param("boxes", id="text"),
    ],
)
def test_boxes_that_are_no_detections_are_refused_by_the_engine(
    bad: Any, fake_backend: FakeBackend
) -> None:
    definition = workflow(
        segment(boxes="$inputs.boxes"),
        inputs=[batch_input("boxes", "object_detection_prediction")],
    )
    with pytest.raises(RuntimeInputError, match=r"`boxes\.\[0\]` declared to hold detections"):
        run(definition, fake_backend, PHOTO, boxes=[bad])
    assert fake_backend.calls == []


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (
            [[5, 5], [80, 10]],
            "image 1: points: object 0, point 1: (80, 10) lies outside the image (80 wide, 60"
            " high); expected absolute pixels, 0 <= x < 80 and 0 <= y < 60.",
        ),
        ([[[5, 5]], [[5, -1]]], "image 1: points: object 1, point 0: (5, -1) lies outside"),
        ([[float("nan"), 5]], "image 1: points: object 0, point 0: expected x to be a finite"),
        ([[1, 2, "false"]], "image 1: points: object 0, point 0: expected positive to be true"),
        ([[[5, 5]], [5, 5]], "image 1: points: object 1: expected a list of points, like"),
        ([[5]], "image 1: points: object 0, point 0: expected {x, y, positive} or (x, y["),
    ],
)
def test_points_of_one_image(bad: list, says: str, fake_backend: FakeBackend) -> None:
    definition = workflow(
        segment(points="$inputs.points"), inputs=[batch_input("points", "list_of_values")]
    )
    with pytest.raises(RuntimeInputError) as caught:
        run(definition, fake_backend, [PHOTO, PHOTO], points=[POINT, bad])
    assert str(caught.value).startswith(says)


def test_points_for_all_images_name_the_first_that_is_too_small(fake_backend: FakeBackend) -> None:
    definition = workflow(segment(points="$inputs.points"), inputs=[parameter("points")])
    images = [PHOTO, scene(20, 30), scene(10, 10)]
    with pytest.raises(RuntimeInputError, match=r"^image 1: .*\(25, 25\) lies outside the image"):
        run(definition, fake_backend, images, points=[[25, 25]])


def test_crop_is_named_by_its_place_in_its_image(fake_backend: FakeBackend) -> None:
    crop = {
        "type": "roboflow_core/dynamic_crop@v1",
        "name": "crop",
        "images": "$inputs.image",
        "predictions": "$inputs.regions",
    }
    definition = workflow(
        crop,
        segment(images="$steps.crop.crops", points=[[25, 25]]),
        inputs=[batch_input("regions", "object_detection_prediction")],
    )
    regions = boxes((0, 0, 30, 30), (0, 0, 20, 20))
    regions.data["detection_id"] = np.array(["r0", "r1"])
    with pytest.raises(RuntimeInputError, match=r"^image 0\.1: points: .* \(20 wide, 20 high\)"):
        run(definition, fake_backend, PHOTO, regions=[regions])


@pytest.mark.parametrize("threshold", [0, 0.95, 1.0])
def test_threshold_as_an_input(threshold: float, fake_backend: FakeBackend) -> None:
    definition = workflow(
        segment(points=POINT, threshold="$inputs.least"), inputs=[parameter("least")]
    )
    (result,) = run(definition, fake_backend, PHOTO, least=threshold)
    assert len(result["predictions"]) == (threshold <= 0.9)


@pytest.mark.parametrize(
    ("field", "bad", "says"),
    [
        ("threshold", 1.5, "expected 0 to 1; got 1.5."),
        ("threshold", -0.1, "expected 0 to 1; got -0.1."),
        ("threshold", float("nan"), "expected 0 to 1; got nan."),
        ("threshold", "much", "expected a number from 0 to 1; got 'much'."),
        ("threshold", "0.5", "expected a number from 0 to 1; got '0.5'."),
        ("threshold", True, "expected a number from 0 to 1; got True."),
        ("threshold", None, "expected a number from 0 to 1; got None."),
        ("version", "huge", "Input should be 'demo', 'hiera_tiny'"),
        ("version", None, "Input should be 'demo', 'hiera_tiny'"),
        ("version", 3, "Input should be 'demo', 'hiera_tiny'"),
        ("class_filter", "coin", "expected a list of class names; got 'coin'."),
        ("class_filter", [3], "expected a list of class names; got [3]."),
        ("class_filter", 3, "expected a list of class names; got 3."),
        # As a bool, any of these would be true.
        ("multimask_output", "false", "expected true or false; got 'false'."),
        ("multimask_output", "off", "expected true or false; got 'off'."),
        ("multimask_output", 5, "expected true or false; got 5."),
        ("points", "abc", "expected a list of points, such as"),
        ("points", '[{"x": 1, "y": 2}]', "parse JSON text first."),
        ("points", 5, "expected a list of points, such as"),
        ("points", {"x": 1, "y": 2}, "Put a single point in a list"),
    ],
)
def test_value_of_an_input_is_refused_before_anything_runs(
    field: str, bad: Any, says: str, fake_backend: FakeBackend
) -> None:
    # The engine checks it against the manifest, names field and input, and tells the rest inside.
    fields = {"boxes": DETECTED, "points": POINT, field: "$inputs.value"}
    definition = workflow(detect(), segment(**fields), inputs=[parameter("value")])
    with pytest.raises(RuntimeInputError) as caught:
        run(definition, fake_backend, PHOTO, value=bad)
    assert f"regarding property {field} provided in input parameter named value" in str(
        caught.value
    )
    assert says in str(caught.value.inner_error)
    assert fake_backend.calls == []


class FailingBackend:
    concurrent_images = 1

    def __init__(self, error: Exception) -> None:
        self.error = error

    def predict(self, *_: Any, **__: Any) -> Any:
        raise self.error


def test_fault_of_the_operator_is_no_fault_of_the_caller() -> None:
    missing = CheckpointNotFoundError("version hiera_tiny: the checkpoint is not there.")
    with pytest.raises(StepExecutionError, match=r"^version hiera_tiny: the check") as caught:
        run(workflow(segment(points=POINT)), FailingBackend(missing), PHOTO)
    assert caught.value.block_id == "sam"
    assert caught.value.block_type == "sam2_block/segment@v1"
    assert caught.value.inner_error is missing


@pytest.mark.parametrize("mode", ["local", "remote"])
def test_more_prompts_than_the_operator_permits(mode: str) -> None:
    """Before a model is loaded or a server asked: neither is there."""
    definition = workflow(
        segment(points="$inputs.points", version="hiera_tiny", execution_mode=mode),
        inputs=[batch_input("points", "list_of_values")],
    )
    settings = {"max_prompts": 5, "max_points": 3}
    for points, says in (
        ([[POINT[0]]] * 6, "image 1: more than 5 boxes and points for one image, which is the"),
        ([POINT[0]] * 4, "image 1: points: object 0: 4 points; the limit is 3 for one object ("),
    ):
        with pytest.raises(RuntimeInputError) as caught:
            run(definition, None, [PHOTO, PHOTO], points=[[], points], settings=settings)
        assert str(caught.value).startswith(says)
