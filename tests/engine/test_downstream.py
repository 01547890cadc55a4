"""Core blocks that take the masks of this one."""

from __future__ import annotations

from typing import Any

import numpy as np

from sam2_block.backends.fake import FakeBackend
from tests.engine.workflows import (
    DETECTED,
    HEIGHT,
    MASKS,
    ONE_OBJECT_A_MASK,
    WIDTH,
    ShapesBackend,
    detect,
    mask_of,
    rows_where,
    run,
    scene,
    segment,
    workflow,
)

A, B = (10, 8, 30, 20), (40, 25, 60, 44)


def after(step: dict[str, Any], output: str, objects: int = len(MASKS)) -> dict[str, Any]:
    points = ONE_OBJECT_A_MASK[:objects]
    return workflow(segment(points=points), step, outputs={"out": f"$steps.after.{output}"})


def test_mask_visualization_paints_the_masks() -> None:
    masks = [MASKS["two parts"], MASKS["hole"], MASKS["empty"], MASKS["one pixel"]]
    definition = after(
        {
            "type": "roboflow_core/mask_visualization@v1",
            "name": "after",
            "image": "$inputs.image",
            "predictions": "$steps.sam.predictions",
            "opacity": 1.0,
        },
        "image",
        objects=4,
    )
    (result,) = run(definition, ShapesBackend(*masks), scene(HEIGHT, WIDTH))
    painted = result["out"].numpy_image.any(axis=2)
    np.testing.assert_array_equal(painted, np.any(masks, axis=0))


def test_filter_keeps_rows_with_their_masks() -> None:
    definition = after(
        {
            "type": "roboflow_core/detections_filter@v1",
            "name": "after",
            "predictions": "$steps.sam.predictions",
            "operations": [rows_where("size", "(Number) <", 500)],
        },
        "predictions",
    )
    # Not through JSON: the filter declares its output as polygons first, whatever came in.
    (result,) = run(definition, ShapesBackend(*MASKS.values()), scene(HEIGHT, WIDTH))
    expected = [MASKS["empty"], MASKS["one pixel"], MASKS["touching corners only"]]
    np.testing.assert_array_equal(result["out"].mask, expected)


def test_dynamic_crop_cuts_out_the_masks() -> None:
    definition = after(
        {
            "type": "roboflow_core/dynamic_crop@v1",
            "name": "after",
            "images": "$inputs.image",
            "predictions": "$steps.sam.predictions",
            "mask_opacity": 1.0,
            "background_color": "(0,0,0)",
        },
        "crops",
    )
    white = np.full((HEIGHT, WIDTH, 3), 255, dtype=np.uint8)
    (result,) = run(definition, ShapesBackend(*MASKS.values()), white)
    crops = dict(zip(MASKS, result["out"], strict=True))
    # The engine's boxes end at the last set pixel, and its crops before it.
    hole = MASKS["hole"][10:39, 20:49]
    np.testing.assert_array_equal(crops["hole"].numpy_image[..., 0] > 127, hole)
    assert crops["full"].numpy_image.shape == (HEIGHT - 1, WIDTH - 1, 3)
    # A box without area cannot be cropped; the engine puts None in its place.
    assert crops["one pixel"] is None
    assert crops["empty"] is None


def test_masks_go_on_as_boxes_of_a_second_step(fake_backend: FakeBackend) -> None:
    definition = workflow(
        detect(),
        segment(boxes=DETECTED, name="first"),
        segment(boxes="$steps.first.predictions"),
    )
    (result,) = run(definition, fake_backend, scene(HEIGHT, WIDTH, A, B))
    rows = result["predictions"]
    assert rows.data["class_name"].tolist() == ["blob 0", "blob 1"]
    # The first step's rows are its prompts, and no pixel is lost from one step to the next.
    np.testing.assert_array_equal(rows.mask, [mask_of(HEIGHT, WIDTH, box) for box in (A, B)])
    assert not set(rows.data["prompt_detection_id"]) & {"id-0", "id-1"}
