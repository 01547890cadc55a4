"""What holds for the step holds wherever SAM 2 runs: one suite for this process and a server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import supervision as sv
from roboflow_workflows.errors import RuntimeInputError
from roboflow_workflows.execution_engine.core import ExecutionEngine

from sam2_block.backends.protocol import Backend
from sam2_block.backends.select import choose_backend
from sam2_block.errors import PromptError
from sam2_block.masks import coco_rle
from sam2_block.prompts import LabeledPoint, Prompt
from sam2_block.segment_options import SegmentOptions
from sam2_block.segmentation import segment_image
from sam2_block.settings import SETTING_NAMES, Settings
from tests.engine.workflows import DETECTED, detect, parameter, scene, segment, workflow
from tests.remote.server import VERSION, Sam2Server

BOXES = sv.Detections(
    xyxy=np.array([[10, 5, 40, 45], [200, 200, 300, 210], [50, 8, 75, 30]], dtype=np.float32),
    confidence=np.array([0.9, 0.8, 0.7], dtype=np.float32),
    class_id=np.array([3, 5, 7]),
    tracker_id=np.array([11, 12, 13]),
    data={"class_name": np.array(["a", "b", "c"]), "detection_id": np.array(["x", "y", "z"])},
)
POINTS = [[[20, 20]], [[60, 20], [5, 5, False]]]
IMAGE = scene(60, 80, (10, 5, 40, 45), (50, 8, 75, 30))


@pytest.fixture(params=["local", "remote"])
def place(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def settings(sam2_server: Sam2Server) -> Settings:
    return Settings().override(
        device="cpu",
        precision="fp32",
        checkpoint_dir=sam2_server.checkpoint_dir,
        api_url=sam2_server.url,
    )


@pytest.fixture
def backend(place: Any, settings: Settings) -> Backend:
    return choose_backend(settings, place)


def ask(
    backend: Backend, boxes: sv.Detections | None, points: Any = None, **options: Any
) -> sv.Detections:
    return segment_image(backend, IMAGE, boxes, points, SegmentOptions(version=VERSION, **options))


def test_one_row_a_prompt_with_its_identity(backend: Backend) -> None:
    rows = ask(backend, BOXES, POINTS)
    assert rows.mask.shape == (5, 60, 80)
    assert rows.class_id.tolist()[:3] == [3, 5, 7]
    assert rows["class_name"].tolist() == ["a", "b", "c", "foreground", "foreground"]
    assert rows.tracker_id.tolist()[:3] == [11, 12, 13]
    assert rows["prompt_detection_id"].tolist()[:3] == ["x", "y", "z"]
    # The second box lies outside: an empty mask, its row kept.
    assert not rows.mask[1].any()
    assert rows["sam2_score"][1] == 0
    for mask, box in zip(rows.mask, rows.xyxy, strict=True):
        if mask.any():
            np.testing.assert_array_equal(sv.mask_to_xyxy(mask[None])[0], box)


def test_order_is_the_caller_s(backend: Backend) -> None:
    rows = ask(backend, BOXES, POINTS)
    alone = [ask(backend, BOXES[[0]]), ask(backend, BOXES[[2]]), ask(backend, None, POINTS[1])]
    for index, row in zip((0, 2, 4), alone, strict=True):
        assert (rows.mask[index] != row.mask[0]).mean() < 0.01
        assert rows["sam2_score"][index] == pytest.approx(row["sam2_score"][0], abs=1e-3)


def test_threshold_and_classes_leave_rows_out(backend: Backend) -> None:
    every = ask(backend, BOXES)
    between = float(np.sort(every["sam2_score"])[-2:].mean())
    assert len(ask(backend, BOXES, threshold=between)) == 1
    assert ask(backend, BOXES, class_filter=["c"]).class_id.tolist() == [7]


def test_confidence_of_the_detector(backend: Backend) -> None:
    rows = ask(backend, BOXES, confidence_source="detector")
    np.testing.assert_allclose(rows.confidence, BOXES.confidence)


def test_box_with_points_is_one_object(backend: Backend) -> None:
    prompts = [
        Prompt(box_xyxy=(10, 5, 40, 45), points=(LabeledPoint(20, 20),)),
        Prompt(box_xyxy=(10, 5, 40, 45)),
    ]
    both, alone = backend.predict(IMAGE, prompts, version=VERSION, multimask_output=True)
    assert both.score != alone.score


def test_nothing_to_ask_gives_an_empty_typed_result(backend: Backend) -> None:
    rows = ask(backend, sv.Detections.empty())
    assert rows.mask.shape == (0, 60, 80)
    assert rows.mask.dtype == bool
    assert ask(backend, BOXES[[1]]).mask.sum() == 0  # no prompt with an area: nobody is asked


def test_point_outside_is_an_error_here_and_there(backend: Backend) -> None:
    with pytest.raises(PromptError, match=r"point 0: \(500, 10\) lies outside the image"):
        ask(backend, None, [[500, 10]])


def engine_run(definition: dict[str, Any], settings: Settings, *images: Any, **values: Any) -> Any:
    """Run a workflow with these settings of the operator."""
    own = {f"sam2_block.{name}": settings.value_of(name) for name in SETTING_NAMES}
    engine = ExecutionEngine.init(definition, init_parameters=own)
    serialize = values.pop("serialize", False)
    return engine.run({"image": list(images), **values}, serialize_results=serialize)


@pytest.fixture
def photos() -> Iterator[list[np.ndarray]]:
    return iter(
        [
            scene(60, 80, (10, 8, 30, 20)),
            scene(60, 80),  # nothing to detect
            scene(50, 90, (10, 8, 30, 20), (50, 30, 70, 45)),
        ]
    )


def test_workflow_over_three_images(place: str, settings: Settings, photos: Any) -> None:
    definition = workflow(detect(), segment(boxes=DETECTED, version=VERSION, execution_mode=place))
    results = engine_run(definition, settings, *photos)
    assert [len(result["predictions"]) for result in results] == [1, 0, 2]
    assert [len(result["scores"]) for result in results] == [1, 0, 2]
    assert results[2]["predictions"].mask.shape == (2, 50, 90)
    assert results[0]["predictions"]["class_name"].tolist() == ["blob 0"]


def test_json_has_the_masks_exactly(place: str, settings: Settings, photos: Any) -> None:
    definition = workflow(detect(), segment(boxes=DETECTED, version=VERSION, execution_mode=place))
    photo = next(photos)
    (here,) = engine_run(definition, settings, photo)
    (there,) = engine_run(definition, settings, photo, serialize=True)
    (row,) = json.loads(json.dumps(there["predictions"]))["predictions"]
    assert row["rle_mask"] == coco_rle(here["predictions"].mask[0])


def test_embedded_ahead(place: str, settings: Settings, photos: Any) -> None:
    embed = {
        "type": "sam2_block/embed@v1",
        "name": "embed",
        "images": "$inputs.image",
        "version": VERSION,
        "execution_mode": place,
    }
    step = segment(
        images="$steps.embed.image", points=[[20, 20]], version=VERSION, execution_mode=place
    )
    photo = next(photos)
    (result,) = engine_run(workflow(embed, step), settings, photo)
    (plain,) = engine_run(workflow(segment(**{**step, "images": "$inputs.image"})), settings, photo)
    np.testing.assert_array_equal(result["predictions"].mask, plain["predictions"].mask)
    assert result["scores"] == plain["scores"]


@pytest.mark.parametrize("version", ["demo", "sam2.1_hiera_tiny"])
def test_remote_step_refuses_a_version_that_is_not_offered(
    settings: Settings, photos: Any, version: str
) -> None:
    step = segment(points=[[20, 20]], version="$inputs.version", execution_mode="remote")
    definition = workflow(step, inputs=[parameter("version")])
    with pytest.raises(RuntimeInputError, match=f"image 0: version: .* offers .* got '{version}'"):
        engine_run(definition, settings, next(photos), version=version)
