"""JSON knows no NaN and no infinity, whatever other blocks have added to the rows."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import supervision as sv

from sam2_block.backends.fake import FakeBackend
from tests.engine.workflows import (
    CENTRE_CROP,
    HEIGHT,
    WIDTH,
    batch_input,
    in_coordinates,
    run,
    scene,
    segment,
    workflow,
)

NAN, INF = float("nan"), float("inf")

# Columns that the engine's serialiser writes, as its blocks or an object of points leave them.
COLUMNS: dict[str, Any] = {
    "time_in_zone": np.array([NAN, 1.5]),
    "path_deviation": np.array([INF, NAN]),
    "velocity": np.array([[NAN, 1], [INF, -INF]]),
    "speed": np.array([NAN, INF]),
    "smoothed_velocity": np.array([[NAN, 1], [INF, -INF]]),
    "smoothed_speed": np.array([-INF, 2.0], dtype=np.float32),
    "nearest_target_distance": np.array([NAN, 5.0]),
    "data": np.array([{"value": NAN, "parts": [np.float32(INF)]}, NAN], dtype=object),
}
KEYPOINTS = {
    "keypoints_xy": np.array([[[NAN, 1]], [[2, INF]]]),
    "keypoints_confidence": np.array([[NAN], [0.5]]),
    "keypoints_class_id": np.zeros((2, 1), dtype=int),
    "keypoints_class_name": np.array([["nose"], ["nose"]], dtype=object),
}
# What is measured of the old mask is not written at all.
OLD = {
    "area_px": np.array([NAN, 3]),
    "area_converted": np.array([INF, 3]),
    "rect": np.full((2, 4, 2), NAN),
    "width": np.array([NAN, 3]),
    "height": np.array([NAN, 3]),
    "angle": np.array([NAN, 3]),
    "polygon": np.full((2, 4, 2), NAN),
}


def given(columns: dict[str, Any], **fields: Any) -> sv.Detections:
    return sv.Detections(
        xyxy=np.array([[10.0, 8, 30, 20], [40, 25, 60, 44]]),
        class_id=np.array([0, 1]),
        data={"class_name": np.array(["cat", "dog"]), **columns},
        **fields,
    )


def finite(text: str) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize("system", ["own", "parent"])
@pytest.mark.parametrize("images", ["$inputs.image", "$steps.crop.crops"])
@pytest.mark.parametrize("name", [*COLUMNS, "keypoints", "old", "all"])
def test_no_number_is_written_that_is_not_finite(
    name: str, images: str, system: str, fake_backend: FakeBackend
) -> None:
    every = {**COLUMNS, **KEYPOINTS, **OLD}
    columns = {"keypoints": KEYPOINTS, "old": OLD, "all": every}.get(name) or {name: COLUMNS[name]}
    definition = workflow(
        CENTRE_CROP,
        segment(images=images, boxes="$inputs.boxes", points=[[5, 5]]),
        inputs=[batch_input("boxes", "object_detection_prediction")],
    )
    (answer,) = run(
        in_coordinates(definition, system),
        fake_backend,
        scene(2 * HEIGHT, 2 * WIDTH),
        boxes=[given(columns)],
        serialize=True,
    )
    rows = finite(json.dumps(answer))["predictions"]["predictions"]
    assert len(rows) == 3
    assert not {"area_px", "area_converted", "rect", "angle", "polygon"} & {
        key for row in rows for key in row
    }
    if name in COLUMNS:
        assert all(name in row for row in rows)


@pytest.mark.parametrize("value", [NAN, INF, -INF])
@pytest.mark.parametrize("source", ["sam", "detector"])
def test_confidence_is_a_number(value: float, source: str, fake_backend: FakeBackend) -> None:
    definition = workflow(
        segment(boxes="$inputs.boxes", confidence_source=source),
        inputs=[batch_input("boxes", "object_detection_prediction")],
    )
    boxes = given({}, confidence=np.array([value, 0.5]))
    (answer,) = run(definition, fake_backend, scene(HEIGHT, WIDTH), boxes=[boxes], serialize=True)
    rows = finite(json.dumps(answer))["predictions"]["predictions"]
    assert rows[0]["confidence"] == pytest.approx(0.9)
