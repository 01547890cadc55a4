"""Masks that a careless step damages, through slices, crops and back to the input image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import supervision as sv

from sam2_block.backends.protocol import ReadyPrediction
from sam2_block.masks import CroppedMask
from tests.engine.test_json import through_json
from tests.engine.workflows import (
    HEIGHT,
    MASKS,
    WIDTH,
    batch_input,
    decoded,
    run,
    segment,
    workflow,
)


class BrightBackend:
    """Answers every prompt with all the bright pixels of its image."""

    concurrent_images = 1

    def predict(
        self, image: np.ndarray, prompts: Sequence[Any], **options: Any
    ) -> list[ReadyPrediction]:
        mask = CroppedMask.from_region(image[..., 0] > 127)
        return [ReadyPrediction(0.75, mask)] * len(prompts)


def painted(mask: np.ndarray) -> np.ndarray:
    return np.repeat(mask[..., None], 3, axis=2).astype(np.uint8) * 255


ANYWHERE = [[[0, 0]]]
SLICER = {
    "type": "roboflow_core/image_slicer@v2",
    "name": "slicer",
    "image": "$inputs.image",
    "slice_width": 40,
    "slice_height": 30,
    "overlap_ratio_width": 0.0,
    "overlap_ratio_height": 0.0,
}
STITCH = {
    "type": "roboflow_core/detections_stitch@v1",
    "name": "stitch",
    "reference_image": "$inputs.image",
    "predictions": "$steps.sam.predictions",
    "overlap_filtering_strategy": "none",
}
SLICED = workflow(
    SLICER,
    segment(images="$steps.slicer.slices", points=ANYWHERE),
    STITCH,
    outputs={"stitched": "$steps.stitch.predictions", "predictions": "$steps.sam.predictions"},
)


def quarters(mask: np.ndarray) -> np.ndarray:
    """Return the part of the mask in each of the four slices, on the whole image's grid."""
    parts = np.zeros((4, HEIGHT, WIDTH), dtype=bool)
    for index, (top, left) in enumerate([(0, 0), (0, 40), (30, 0), (30, 40)]):
        window = np.s_[top : top + 30, left : left + 40]
        parts[index][window] = mask[window]
    return parts


every_mask = pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)


@every_mask
def test_slices_are_stitched_exactly(mask: np.ndarray) -> None:
    (result,) = run(SLICED, BrightBackend(), painted(mask))
    expected = quarters(mask)
    for part, rows in zip(expected, result["predictions"], strict=True):
        np.testing.assert_array_equal(rows.mask, [part])
    stitched = result["stitched"]
    np.testing.assert_array_equal(stitched.mask, expected)
    full = expected.any(axis=(1, 2))
    np.testing.assert_array_equal(stitched.xyxy[full], sv.mask_to_xyxy(expected[full]))


@every_mask
def test_json_of_slices_keeps_every_mask_exactly(mask: np.ndarray) -> None:
    (answer,) = run(SLICED, BrightBackend(), painted(mask), serialize=True)
    found = [decoded(through_json(rows))[0] for rows in answer["predictions"]]
    np.testing.assert_array_equal(found, quarters(mask))


def test_json_of_stitched_slices_is_the_engines() -> None:
    """One polygon a mask: its block declares no kind that could hold more. Told in the README."""
    (answer,) = run(SLICED, BrightBackend(), painted(MASKS["two parts"]), serialize=True)
    rows = answer["stitched"]["predictions"]
    assert {"points", "rle_mask"} & set().union(*rows) == {"points"}
    assert (len(rows), len(answer["predictions"])) == (2, 4)


@every_mask
@pytest.mark.parametrize("border", [0, 6])
def test_dynamic_crops_come_back_to_the_image_exactly(mask: np.ndarray, border: int) -> None:
    region = sv.Detections(
        xyxy=np.array([[0.0, 0, WIDTH, HEIGHT], [border, border, WIDTH - border, HEIGHT]]),
        class_id=np.zeros(2, dtype=int),
        data={"detection_id": np.array(["all", "most"])},
    )
    crop = {
        "type": "roboflow_core/dynamic_crop@v1",
        "name": "crop",
        "images": "$inputs.image",
        "predictions": "$inputs.regions",
    }
    definition = workflow(
        crop,
        segment(images="$steps.crop.crops", points=ANYWHERE),
        inputs=[batch_input("regions", "object_detection_prediction")],
    )
    inside = np.zeros_like(mask)
    inside[border:, border : WIDTH - border] = mask[border:, border : WIDTH - border]
    for serialize in (False, True):
        (result,) = run(
            definition, BrightBackend(), painted(mask), regions=[region], serialize=serialize
        )
        for rows, expected in zip(result["predictions"], [mask, inside], strict=True):
            found = decoded(through_json(rows)) if serialize else rows.mask
            np.testing.assert_array_equal(found, [expected])
