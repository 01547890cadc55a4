from __future__ import annotations

import json
import random
from typing import Any

import numpy as np
import pytest
import supervision as sv
from pycocotools import mask as coco_mask

from sam2_block.masks import EMPTY_MASK, CroppedMask, coco_rle
from sam2_block.masks.rle_decoding import decode_coco_rle

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


def test_detached_mask_keeps_no_more_memory_than_its_crop() -> None:
    canvas = np.zeros((HEIGHT, WIDTH), dtype=np.bool_)
    cropped = CroppedMask.from_region(SHAPES["hole"], 3, 4)
    detached = cropped.detached()
    assert cropped.crop.base is not None
    assert detached.crop.base is None
    assert (detached.x, detached.y) == (cropped.x, cropped.y)
    np.testing.assert_array_equal(detached.crop, cropped.crop)
    EMPTY_MASK.detached().paste_into(canvas)
    assert not canvas.any()


def decoded_by_pycocotools(counts: str, image_hw: tuple[int, int]) -> np.ndarray:
    return coco_mask.decode({"size": list(image_hw), "counts": counts.encode()}).astype(np.bool_)


@pytest.mark.parametrize("density", [0.0, 0.02, 0.5, 0.98, 1.0])
@pytest.mark.parametrize(
    "image_hw",
    [(1, 1), (1, 2), (2, 1), (1, 97), (97, 1), (1, 5000), (5000, 1), (2, 2), (33, 32), (123, 77)],
)
def test_rle_round_trip(image_hw: tuple[int, int], density: float) -> None:
    mask = np.random.default_rng(7).random(image_hw) < density
    decoded = decode_coco_rle(json.loads(json.dumps(coco_rle(mask))), image_hw)
    assert decoded.dtype == np.bool_
    np.testing.assert_array_equal(decoded, mask)
    np.testing.assert_array_equal(
        decoded, decoded_by_pycocotools(coco_rle(mask)["counts"], image_hw)
    )


@pytest.mark.parametrize("density", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_rle_is_that_of_pycocotools(density: float) -> None:
    rng = np.random.default_rng(5)
    for image_hw in np.ndindex(7, 7):
        mask = rng.random(np.add(image_hw, 1)) < density
        expected = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"]
        assert coco_rle(mask) == {"size": list(mask.shape), "counts": expected.decode()}


@every_shape
def test_rle_of_every_shape(mask: np.ndarray) -> None:
    np.testing.assert_array_equal(decode_coco_rle(coco_rle(mask), mask.shape), mask)


def test_rle_of_runs_of_millions() -> None:
    mask = np.zeros((1024, 8192), dtype=np.bool_)
    mask[:, 4000:] = True
    np.testing.assert_array_equal(decode_coco_rle(coco_rle(mask), mask.shape), mask)


def rle(counts: Any, size: Any = (2, 3)) -> dict[str, Any]:
    return {"size": list(size) if isinstance(size, tuple) else size, "counts": counts}


NO_FILL = "runs that do not fill 2 x 3 pixels"
BAD_CHARACTER = "`counts` with a character that COCO RLE does not use"


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (None, "no text `counts`"),
        ([], "no text `counts`"),
        ("06", "no text `counts`"),
        ({}, "no text `counts`"),
        ({"size": [2, 3]}, "no text `counts`"),
        # Uncompressed RLE, and the bytes that pycocotools itself would take.
        (rle([0, 6]), "no text `counts`"),
        (rle(b"06"), "no text `counts`"),
        ({"counts": "06"}, "a size other than [2, 3]"),
        (rle("06", (3, 2)), "a size other than [2, 3]"),
        (rle("06", "23"), "a size other than [2, 3]"),
        (rle("06", (2, 3, 1)), "a size other than [2, 3]"),
        (rle("06", (2**40, 2**40)), "a size other than [2, 3]"),
        (rle(""), BAD_CHARACTER),
        (rle("0 6"), BAD_CHARACTER),
        (rle("0/6"), BAD_CHARACTER),
        (rle("0p"), BAD_CHARACTER),
        (rle("06\x00"), BAD_CHARACTER),
        (rle("\x0006"), BAD_CHARACTER),
        (rle("0\u00e46"), BAD_CHARACTER),
        # JSON can hold half a character.
        (rle("0\ud8006"), BAD_CHARACTER),
        (rle("0P"), "`counts` that end in the middle of a number"),
        (rle("PPPPPP0"), "`counts` with a number that is far too large"),
        (rle("0" + "P" * 30 + "0"), "`counts` with a number that is far too large"),
        (rle("0" * 43), "`counts` of far too many runs"),
        (rle("0" * 71), "`counts` that are far too long"),
        (rle("0"), NO_FILL),
        (rle("05"), NO_FILL),
        (rle("07"), NO_FILL),
        (rle("060"), None),
        # Beyond the mask in one run, and back in the next: pycocotools would write all of it.
        (rle("0oooo?"), NO_FILL),
        (rle("0oooo?1"), NO_FILL),
        (rle("0N8"), NO_FILL),
        (rle("8N"), NO_FILL),
        # As many pixels as there are, in the end.
        (rle("44N"), NO_FILL),
        (rle("5N3"), NO_FILL),
        # 0, 4, 1 and 4 - 3 set pixels: the fourth number is a difference; then one of 4 - 5 < 0.
        (rle("041M"), None),
        (rle("041K"), NO_FILL),
    ],
)
def test_rle_that_is_none(value: Any, says: str | None) -> None:
    if says is None:
        decoded = decode_coco_rle(value, (2, 3))
        np.testing.assert_array_equal(decoded, decoded_by_pycocotools(value["counts"], (2, 3)))
        return
    with pytest.raises(ValueError, match=r"^") as caught:
        decode_coco_rle(value, (2, 3))
    assert str(caught.value) == says


def runs_of(counts: str) -> list[int]:
    """Read `counts` number by number, as the format's description says."""
    runs: list[int] = []
    value, shift = 0, 0
    for character in counts:
        bits = ord(character) - 48
        value |= (bits & 0x1F) << shift
        shift += 5
        if not bits & 0x20:
            if bits & 0x10:
                value -= 1 << shift
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value, shift = 0, 0
    return runs


def test_rle_from_a_hostile_server() -> None:
    random_ = random.Random(20240817)
    taken = 0
    for _ in range(8000):
        image_hw = height, width = random_.randint(1, 12), random_.randint(1, 12)
        density = random_.choice([0.0, 0.1, 0.5, 1.0])
        mask = np.array([random_.random() < density for _ in range(height * width)])
        counts = [*coco_rle(mask.reshape(image_hw))["counts"]]
        for _ in range(random_.randint(0, 3)):
            place = random_.randrange(len(counts) + 1)
            removed = random_.choice([0, 1, 1, 2])
            # Seldom a character that the format does not have.
            highest = random_.choice([111, 111, 111, 130])
            added = [chr(random_.randint(48, highest)) for _ in range(random_.randint(0, 3))]
            counts[place : place + removed] = added
        text = "".join(counts)
        try:
            decoded = decode_coco_rle(rle(text, image_hw), image_hw)
        except ValueError:
            continue
        taken += 1
        runs = runs_of(text)
        assert min(runs) >= 0, repr(text)
        assert sum(runs) == height * width, repr(text)
        np.testing.assert_array_equal(decoded, decoded_by_pycocotools(text, image_hw))
    assert taken > 2000


def test_rle_of_noise() -> None:
    random_ = random.Random(3)
    for _ in range(4000):
        noise = bytes(random_.randrange(256) for _ in range(random_.randint(0, 12)))
        text = noise.decode("latin-1")
        try:
            decoded = decode_coco_rle(rle(text, (3, 3)), (3, 3))
        except ValueError:
            continue
        np.testing.assert_array_equal(decoded, decoded_by_pycocotools(text, (3, 3)))
