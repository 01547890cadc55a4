"""Boxes that came with masks, as prompts: whole to the last pixel, in every form of masks."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import supervision as sv
from pycocotools import mask as coco_mask
from supervision.detection.compact_mask import CompactMask

from sam2_block import Segmenter
from sam2_block.backends.fake import FakeBackend
from sam2_block.masks import CroppedMask
from sam2_block.masks.mask_boxes import boxes_over_masks, boxes_over_rle
from sam2_block.rows.detections import read_rows

HEIGHT, WIDTH = 30, 40
PHOTO = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)


def mask(left: int, top: int, right: int, bottom: int) -> np.ndarray:
    pixels = np.zeros((HEIGHT, WIDTH), dtype=bool)
    pixels[top:bottom, left:right] = True
    return pixels


SHAPES = {
    "square": mask(10, 8, 15, 13),
    "line across": mask(3, 4, 20, 5),
    "line down": mask(3, 4, 4, 20),
    "one pixel": mask(7, 9, 8, 10),
    "whole image": mask(0, 0, WIDTH, HEIGHT),
    "last pixel": mask(WIDTH - 1, HEIGHT - 1, WIDTH, HEIGHT),
    "first pixel": mask(0, 0, 1, 1),
    "two parts": mask(1, 1, 4, 4) | mask(20, 15, 25, 22),
}
MASKS = np.array(list(SHAPES.values()))
BOXES = sv.mask_to_xyxy(MASKS)
EDGES = BOXES + np.array([0, 0, 1, 1])


def dense() -> sv.Detections:
    return sv.Detections(xyxy=BOXES.astype(np.float32), mask=MASKS.copy())


def compact() -> sv.Detections:
    return sv.Detections(
        xyxy=BOXES.astype(float), mask=CompactMask.from_dense(MASKS, BOXES, (HEIGHT, WIDTH))
    )


def as_column() -> sv.Detections:
    """As a semantic segmentation model gives masks, and the engine's reader of JSON."""
    column = np.empty(len(MASKS), dtype=object)
    column[:] = [coco_mask.encode(np.asfortranarray(one.astype(np.uint8))) for one in MASKS]
    return sv.Detections(xyxy=BOXES.astype(float), data={"rle_mask": column})


def through_json() -> sv.Detections:
    def row(box: np.ndarray, pixels: np.ndarray) -> dict[str, Any]:
        (x1, y1, x2, y2), rle = box.tolist(), CroppedMask.from_region(pixels)
        size = {"width": x2 - x1, "height": y2 - y1, "x": (x1 + x2) / 2, "y": (y1 + y2) / 2}
        named = {"class": "a", "class_id": 0, "confidence": 0.5}
        return {**size, **named, "rle_mask": rle.coco_rle((HEIGHT, WIDTH))}

    rows = [row(*pair) for pair in zip(BOXES, MASKS, strict=True)]
    image = {"width": WIDTH, "height": HEIGHT}
    return sv.Detections.from_inference({"image": image, "predictions": rows})


@pytest.mark.parametrize("form", [dense, compact, as_column, through_json])
def test_masks_are_prompts_to_their_last_pixel(form: Any) -> None:
    given = form()
    segmenter = Segmenter("demo", backend=FakeBackend())
    # The fake's masks fill their prompts' boxes: what a step loses shows in the next.
    for _ in range(3):
        rows = segmenter.segment(PHOTO, given)
        expected = [mask(*box) for box in EDGES.astype(int).tolist()]
        np.testing.assert_array_equal(rows.mask, expected)
        # What comes out is as supervision writes it.
        np.testing.assert_array_equal(rows.xyxy, BOXES)
        given = rows


@pytest.mark.parametrize("form", [dense, compact, as_column])
def test_read_again_the_boxes_stay(form: Any) -> None:
    once = read_rows(form())
    np.testing.assert_array_equal(once.xyxy, EDGES)
    np.testing.assert_array_equal(read_rows(once).xyxy, EDGES)


# A detector's box around a mask that ends inside it, beyond it, or not on a whole pixel.
DETECTORS = [
    (9.5, 7.5, 15.2, 13.4),
    (10, 8, 15, 13),
    (10, 8, 14.5, 12.5),
    (0, 0, 39, 29),
    (10, 8, 13, 11),
]


@pytest.mark.parametrize("box", DETECTORS)
def test_boxes_of_a_detector_are_edges_already(box: tuple[float, ...]) -> None:
    square = SHAPES["square"][None]
    rle = [CroppedMask.from_region(square[0]).coco_rle((HEIGHT, WIDTH))]
    for found in (boxes_over_masks(np.array([box]), square), boxes_over_rle(np.array([box]), rle)):
        # The mask goes on behind the last box: all that is known is that the box is not the mask's.
        if box != DETECTORS[-1]:
            np.testing.assert_array_equal(found, [box])


@pytest.mark.parametrize(
    "box", itertools.islice(itertools.permutations([np.nan, np.inf, -5.0, 1e300]), 24)
)
def test_boxes_that_are_not_finite_stay(box: tuple[float, ...]) -> None:
    for masks in (MASKS[:1], compact().mask[:1]):
        np.testing.assert_array_equal(boxes_over_masks(np.array([box]), masks), [box])


def test_empty_masks_and_no_masks() -> None:
    empty = np.zeros((1, HEIGHT, WIDTH), dtype=bool)
    np.testing.assert_array_equal(boxes_over_masks(BOXES[:1], empty), BOXES[:1])
    assert boxes_over_masks(np.zeros((0, 4)), empty[:0]).shape == (0, 4)
    assert boxes_over_rle(np.zeros((0, 4)), []).shape == (0, 4)


@pytest.mark.parametrize(
    "rle",
    [
        None,
        5,
        "text",
        {},
        {"size": [HEIGHT, WIDTH]},
        {"size": [0, 0], "counts": ""},
        {"size": [-1, 5], "counts": "abc"},
        {"size": ["a", "b"], "counts": "abc"},
        {"size": [HEIGHT], "counts": "abc"},
        {"size": [HEIGHT, WIDTH], "counts": [1, 2]},
        {"size": [HEIGHT, WIDTH], "counts": ""},
        {"size": [HEIGHT, WIDTH], "counts": "\x00\xff~"},
        {"size": [10**30, 5], "counts": "abc"},
    ],
    ids=str,
)
def test_rle_that_cannot_be_read_leaves_the_box(rle: Any) -> None:
    np.testing.assert_array_equal(boxes_over_rle(BOXES[:1], [rle]), BOXES[:1])


def test_masks_are_looked_at_inside_their_boxes_alone() -> None:
    class Watched(np.ndarray):
        seen = 0

        def __getitem__(self, key: Any) -> Any:
            part = super().__getitem__(key)
            if isinstance(key, tuple):
                Watched.seen += part.size
            return part

    masks = np.zeros((1, 2000, 2000), dtype=bool)
    masks[0, 8:13, 10:15] = True
    found = boxes_over_masks(np.array([[10, 8, 14, 12]]), masks.view(Watched))
    np.testing.assert_array_equal(found, [[10, 8, 15, 13]])
    assert Watched.seen < 1000
