from __future__ import annotations

import json

import numpy as np
import pytest
import supervision as sv
from pycocotools import mask as coco_mask

from sam2_block.masks import EMPTY_MASK, CroppedMask, coco_rle

HEIGHT, WIDTH = 9, 12


def full_size(*rectangles: tuple[int, int, int, int]) -> np.ndarray:
    """Set rectangles, given as left, top, right and bottom (both outside), in an empty mask."""
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.bool_)
    for left, top, right, bottom in rectangles:
        mask[top:bottom, left:right] = True
    return mask


def with_hole() -> np.ndarray:
    mask = full_size((2, 2, 9, 8))
    mask[4:6, 4:7] = False
    return mask


SHAPES = {
    "rectangle": full_size((3, 2, 7, 5)),
    "one pixel": full_size((3, 4, 4, 5)),
    "two parts": full_size((0, 0, 2, 2), (9, 7, 12, 9)),
    "hole": with_hole(),
    "touches every border": full_size((0, 4, 12, 5), (5, 0, 6, 9)),
    "full": full_size((0, 0, WIDTH, HEIGHT)),
    "first pixel": full_size((0, 0, 1, 1)),
    "last pixel": full_size((WIDTH - 1, HEIGHT - 1, WIDTH, HEIGHT)),
}
every_shape = pytest.mark.parametrize("mask", SHAPES.values(), ids=SHAPES.keys())


@every_shape
def test_cropped_mask_gives_the_mask_back(mask: np.ndarray) -> None:
    cropped = CroppedMask.from_region(mask)
    canvas = np.zeros_like(mask)
    cropped.paste_into(canvas)
    np.testing.assert_array_equal(canvas, mask)
    assert not cropped.is_empty


@every_shape
def test_crop_is_tight(mask: np.ndarray) -> None:
    crop = CroppedMask.from_region(mask).crop
    for edge in (crop[0], crop[-1], crop[:, 0], crop[:, -1]):
        assert edge.any()


@every_shape
def test_box_is_that_of_supervision(mask: np.ndarray) -> None:
    expected = sv.mask_to_xyxy(mask[None])[0]
    assert CroppedMask.from_region(mask).box_xyxy == tuple(expected)


def test_region_is_placed_where_it_starts() -> None:
    cropped = CroppedMask.from_region(full_size((3, 2, 7, 5)), x=100, y=1000)
    assert (cropped.x, cropped.y, cropped.crop.shape) == (103, 1002, (3, 4))
    assert cropped.box_xyxy == (103, 1002, 106, 1004)


@pytest.mark.parametrize("shape", [(HEIGHT, WIDTH), (0, 0), (0, 5), (5, 0)])
def test_region_without_a_set_pixel_is_empty(shape: tuple[int, int]) -> None:
    cropped = CroppedMask.from_region(np.zeros(shape, dtype=np.bool_), x=3, y=4)
    assert cropped.is_empty
    canvas = np.zeros((HEIGHT, WIDTH), dtype=np.bool_)
    cropped.paste_into(canvas)
    assert not canvas.any()


def test_one_empty_mask_serves_for_all() -> None:
    assert CroppedMask.from_region(np.zeros((3, 3), dtype=np.bool_)) is EMPTY_MASK


@pytest.mark.parametrize(
    "mask", [*SHAPES.values(), full_size()], ids=[*SHAPES.keys(), "no pixel at all"]
)
def test_rle_survives_json(mask: np.ndarray) -> None:
    rle = json.loads(json.dumps(coco_rle(mask)))
    assert rle["size"] == [HEIGHT, WIDTH]
    (decoded,) = np.moveaxis(coco_mask.decode([rle]), -1, 0)
    np.testing.assert_array_equal(decoded.astype(np.bool_), mask)


def test_rle_takes_a_mask_in_any_memory_order() -> None:
    mask = SHAPES["two parts"]
    assert coco_rle(np.asfortranarray(mask)) == coco_rle(mask) == coco_rle(mask[::-1][::-1])
