"""Batches of images of many sizes, and of their crops: every row is on its own image.

The backend of these tests looks at the pixels: it answers with the bright region that is asked for,
so that a mask tells which image it was made on.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import pytest

from sam2_block.backends.protocol import ReadyPrediction
from sam2_block.masks import CroppedMask
from sam2_block.prompts import Prompt
from tests.engine.workflows import (
    DETECTED,
    DETECTOR,
    batch_input,
    detect,
    parameter,
    run,
    scene,
    segment,
    workflow,
)

Box = tuple[int, int, int, int]


class BrightRegionBackend:
    """Answers a box with the bright pixels inside it, and a point with the bright region there."""

    def __init__(self, concurrent_images: int = 1) -> None:
        self.concurrent_images = concurrent_images

    def predict(
        self, image: np.ndarray, prompts: Sequence[Prompt], **options: Any
    ) -> list[ReadyPrediction]:
        return [ReadyPrediction(0.9, self._mask(image, prompt)) for prompt in prompts]

    def _mask(self, image: np.ndarray, prompt: Prompt) -> CroppedMask:
        _, regions = cv2.connectedComponents(bright(image).astype(np.uint8))
        asked = np.zeros(image.shape[:2], dtype=bool)
        if prompt.box_xyxy is not None:
            left, top, right, bottom = map(round, prompt.box_xyxy)
            asked[top:bottom, left:right] = True
        for point in prompt.points:
            asked |= regions == regions[int(point.y), int(point.x)]
        return CroppedMask.from_region(asked & bright(image))


def bright(image: np.ndarray) -> np.ndarray:
    mask: np.ndarray = image[..., 0] > 127
    return mask


def regions_of(image: np.ndarray) -> np.ndarray:
    """Return the bright regions of an image as masks, from top to bottom as the detector does."""
    count, regions = cv2.connectedComponents(bright(image).astype(np.uint8))
    return np.array([regions == region for region in range(1, count)]).reshape(-1, *image.shape[:2])


both_ways = pytest.mark.parametrize("concurrent_images", [1, 4], ids=["in turn", "in threads"])


# --- one level: images ---


def different_images(count: int) -> list[np.ndarray]:
    """Images of different sizes with regions in different places; every third has none."""
    images = []
    for index in range(count):
        height, width = 50 + 7 * index, 120 - 5 * index
        boxes: list[Box] = [(3 + index, 5, 12 + index, 14 + index), (20, 20 + index, 35, 40)]
        images.append(scene(height, width, *boxes[: (index + 1) % 3]))
    return images


@both_ways
@pytest.mark.parametrize("count", [1, 3, 16])
def test_boxes(count: int, concurrent_images: int) -> None:
    images = different_images(count)
    assert len({image.shape for image in images}) == count
    definition = workflow(detect(), segment(boxes=DETECTED))
    results = run(definition, BrightRegionBackend(concurrent_images), images)
    assert len(results) == count
    for image, result in zip(images, results, strict=True):
        expected = regions_of(image)
        np.testing.assert_array_equal(result["predictions"].mask, expected)
        names = [f"blob {row}" for row in range(len(expected))]
        assert result["predictions"].data["class_name"].tolist() == names
        assert len(result["scores"]) == len(expected)
    assert {len(result["scores"]) for result in results} == {1, *([0, 2] if count > 1 else [])}


@both_ways
@pytest.mark.parametrize("kind", ["labeled_points", "list_of_values"])
def test_points_of_each_image(kind: str, concurrent_images: int) -> None:
    images = [image for image in different_images(12) if bright(image).any()]
    definition = workflow(segment(points="$inputs.points"), inputs=[batch_input("points", kind)])
    flat = kind == "labeled_points"  # the engine takes one object an image of this kind
    expected = [regions_of(image)[: 1 if flat else None] for image in images]
    points: list[Any] = [
        [[{"x": int(xs[0]), "y": int(ys[0])}] for ys, xs in map(np.nonzero, regions)]
        for regions in expected
    ]
    if flat:
        points = [objects[0] for objects in points]
    results = run(definition, BrightRegionBackend(concurrent_images), images, points=points)
    for regions, result in zip(expected, results, strict=True):
        np.testing.assert_array_equal(result["predictions"].mask, regions)


@both_ways
@pytest.mark.parametrize("given", ["literal", "$inputs.points"])
def test_one_list_of_points_for_all_images(given: str, concurrent_images: int) -> None:
    images = different_images(12)
    points = [[[14, 13]], [[22, 39]]]  # on a region of some images, beside it on others
    definition = workflow(
        segment(points=points if given == "literal" else given), inputs=[parameter("points")]
    )
    results = run(definition, BrightRegionBackend(concurrent_images), images, points=points)
    hits = 0
    for image, result in zip(images, results, strict=True):
        for ((x, y),), mask in zip(points, result["predictions"].mask, strict=True):
            expected = [region for region in regions_of(image) if region[y, x]]
            np.testing.assert_array_equal(mask, sum(expected, np.zeros_like(mask)))
            hits += len(expected)
    assert 0 < hits < 2 * len(images)


# --- two levels: crops of images ---

_PANELS_CODE = DETECTOR["code"]["run_function_code"].replace("[..., 0]", "[..., 2]")
_CENTRES_CODE = """
def run(self, image) -> BlockResult:
    bright = (image.numpy_image[..., 0] > 127).astype(np.uint8)
    boxes = cv2.connectedComponentsWithStats(bright)[2][1:]
    return {"points": [[[int(x + w // 2), int(y + h // 2)]] for x, y, w, h, _ in boxes]}
"""


def dynamic_block(name: str, code: str, output: str, kind: str) -> dict[str, Any]:
    block = copy.deepcopy(DETECTOR)
    block["manifest"]["block_type"] = name
    block["manifest"]["outputs"] = {output: {"type": "DynamicOutputDefinition", "kind": [kind]}}
    block["code"]["run_function_code"] = code
    return block


PANELS = dynamic_block("PanelDetector", _PANELS_CODE, "predictions", "object_detection_prediction")
CENTRES = dynamic_block("Centres", _CENTRES_CODE, "points", "list_of_values")
CROPS = "$steps.crop.crops"
CROP_PANELS = [
    {"type": "PanelDetector", "name": "panels", "image": "$inputs.image"},
    {
        "type": "roboflow_core/dynamic_crop@v1",
        "name": "crop",
        "images": "$inputs.image",
        "predictions": "$steps.panels.predictions",
    },
]

# Of each image: its size, and its panels with the regions inside, all in pixels of the image.
IMAGES: list[tuple[int, int, dict[Box, list[Box]]]] = [
    (90, 140, {(10, 5, 60, 50): [(15, 10, 25, 22), (30, 25, 55, 45)], (70, 20, 130, 80): []}),
    (40, 40, {}),
    (70, 100, {(40, 8, 90, 60): [(41, 9, 47, 59)]}),
    (64, 200, {(150, 1, 190, 60): [(160, 30, 188, 50)], (5, 3, 100, 63): [(5, 3, 20, 9)]}),
]


def with_panels(height: int, width: int, panels: dict[Box, list[Box]]) -> np.ndarray:
    """Paint the panels in red, which only their detector sees, and the regions in blue."""
    image = np.zeros((height, width, 3), dtype=np.uint8)
    for (left, top, right, bottom), regions in panels.items():
        image[top:bottom, left:right, 2] = 255
        for x1, y1, x2, y2 in regions:
            image[y1:y2, x1:x2, 0] = 255
    return image


def check_crops(
    results: list[dict[str, Any]], images: list[np.ndarray], rows_a_region: int = 1
) -> None:
    """Check that the rows of each crop are the regions in its panel, in pixels of the image."""
    assert len(results) == len(images)
    for image, result, (_, _, panels) in zip(images, results, IMAGES, strict=False):
        in_order = sorted(panels, key=lambda panel: panel[1])  # as the detector finds them
        assert len(result["predictions"]) == len(result["scores"]) == len(panels)
        for panel, rows, scores in zip(
            in_order, result["predictions"], result["scores"], strict=True
        ):
            inside = np.zeros(image.shape[:2], dtype=bool)
            inside[panel[1] : panel[3], panel[0] : panel[2]] = True
            expected = [region for region in regions_of(image) if (region & inside).any()]
            assert len(expected) == len(panels[panel])
            assert len(rows) == len(scores) == rows_a_region * len(expected)
            if expected:
                np.testing.assert_array_equal(rows.mask, expected * rows_a_region)


@both_ways
@pytest.mark.parametrize("prompts", ["boxes", "points", "boxes and points"])
def test_crops(prompts: str, concurrent_images: int) -> None:
    fields = {"boxes": DETECTED} if "boxes" in prompts else {}
    if "points" in prompts:
        fields["points"] = "$steps.centres.points"
    definition = workflow(
        *CROP_PANELS,
        detect(CROPS),
        {"type": "Centres", "name": "centres", "image": CROPS},
        segment(images=CROPS, **fields),
    )
    definition["dynamic_blocks_definitions"] += [PANELS, CENTRES]
    images = [with_panels(*described) for described in IMAGES]
    results = run(definition, BrightRegionBackend(concurrent_images), images)
    check_crops(results, images, rows_a_region=len(fields))


def test_one_list_of_points_for_all_crops() -> None:
    definition = workflow(*CROP_PANELS, segment(images=CROPS, points=[[[0, 0]]]))
    definition["dynamic_blocks_definitions"] = [PANELS]
    images = [with_panels(*described) for described in IMAGES]
    results = run(definition, BrightRegionBackend(), images)
    corners = [[rows.mask.any() for rows in result["predictions"]] for result in results]
    # The panels are cut out from top to bottom; one has a region in its corner.
    assert corners == [[False, False], [], [False], [False, True]]
    np.testing.assert_array_equal(
        results[3]["predictions"][1].mask[0], scene(64, 200, (5, 3, 20, 9))[..., 0] > 0
    )


@pytest.mark.parametrize("count", [1, 3])
def test_no_image_has_a_crop(count: int) -> None:
    definition = workflow(*CROP_PANELS, detect(CROPS), segment(images=CROPS, boxes=DETECTED))
    definition["dynamic_blocks_definitions"].append(PANELS)
    results = run(definition, BrightRegionBackend(), [with_panels(40, 30, {})] * count)
    assert results == [{"predictions": [], "scores": []}] * count
