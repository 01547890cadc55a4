from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import supervision as sv
from supervision.detection.compact_mask import CompactMask

from sam2_block.errors import PromptError
from sam2_block.masks import EMPTY_MASK, CroppedMask
from sam2_block.masks.arrays import MaskArray, cropped_masks
from sam2_block.masks.compact import CompactMasks
from sam2_block.settings import MaskForm
from tests.unit.test_masks import HEIGHT, SHAPES, WIDTH

MASKS = [*SHAPES.values(), np.zeros((HEIGHT, WIDTH), dtype=np.bool_)]
DENSE, COMPACT = len(MASKS) * HEIGHT * WIDTH, len(MASKS) * HEIGHT * WIDTH - 1
either = pytest.mark.parametrize("dense_bytes", [DENSE, COMPACT], ids=["dense", "compact"])


def held(dense_bytes: int, most: int = len(MASKS)) -> np.ndarray | CompactMask:
    array = MaskArray(most, (HEIGHT, WIDTH), dense_bytes)
    for mask in MASKS:
        array.append(CroppedMask.from_region(mask))
    return array.get()


@either
def test_every_mask_is_given_back(dense_bytes: int) -> None:
    masks = held(dense_bytes)
    assert isinstance(masks, np.ndarray if dense_bytes == DENSE else CompactMask)
    assert masks.shape == (len(MASKS), HEIGHT, WIDTH)
    assert masks.dtype == np.bool_
    np.testing.assert_array_equal(np.asarray(masks), MASKS)


EXPECTED = [CroppedMask.from_region(mask) for mask in MASKS]
BOXES = {
    "unknown": None,
    "tight": np.array([mask.box_xyxy for mask in EXPECTED[:-1]] + [(3, 2, 9, 5)], np.float32),
    "wide, and of an empty mask off the image": np.array(
        [(0, 0, WIDTH - 1, HEIGHT - 1)] * (len(MASKS) - 1) + [(-9, -4, -2, HEIGHT + 3)], np.float32
    ),
    "wide, and of an empty mask out of sight": np.array(
        [(0, 0, WIDTH - 1, HEIGHT - 1)] * (len(MASKS) - 1) + [(1e20, -1e20, 2e20, 1e20)], np.float32
    ),
}


@either
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("boxes", BOXES.values(), ids=BOXES)
def test_masks_come_apart_as_they_went_in(dense_bytes: int, boxes: np.ndarray | None) -> None:
    crops = list(cropped_masks(held(dense_bytes), boxes))
    expected = EXPECTED
    for crop, mask in zip(crops, expected, strict=True):
        assert (crop.x, crop.y) == (mask.x, mask.y)
        np.testing.assert_array_equal(crop.crop, mask.crop)
    assert crops[-1] is EMPTY_MASK


@pytest.mark.parametrize("most", [len(MASKS), len(MASKS) + 3])
@pytest.mark.parametrize("dense_bytes", [0, 10**9], ids=["compact", "dense"])
def test_fewer_masks_than_expected(most: int, dense_bytes: int) -> None:
    np.testing.assert_array_equal(np.asarray(held(dense_bytes, most)), MASKS)


@pytest.mark.parametrize("most", [0, 3])
@pytest.mark.parametrize("dense_bytes", [0, 10**9])
def test_no_masks_are_an_empty_array(most: int, dense_bytes: int) -> None:
    masks = MaskArray(most, (HEIGHT, WIDTH), dense_bytes).get()
    assert isinstance(masks, np.ndarray)
    assert masks.shape == (0, HEIGHT, WIDTH)


@pytest.mark.parametrize("count", [0, 1, len(MASKS)])
@pytest.mark.parametrize("most", [len(MASKS), len(MASKS) + 3])
@pytest.mark.parametrize("dense_bytes", [0, 10**9])
@pytest.mark.parametrize(("form", "kind"), [("dense", np.ndarray), ("compact", CompactMasks)])
def test_the_form_does_not_depend_on_number_or_size(
    form: MaskForm, kind: type, dense_bytes: int, most: int, count: int
) -> None:
    array = MaskArray(most, (HEIGHT, WIDTH), dense_bytes, form)
    for mask in MASKS[:count]:
        array.append(CroppedMask.from_region(mask))
    masks = array.get()
    assert type(masks) is kind
    assert masks.shape == (count, HEIGHT, WIDTH)
    assert masks.dtype == np.bool_
    np.testing.assert_array_equal(np.asarray(masks), np.array(MASKS)[:count])
    assert len(list(cropped_masks(masks))) == count


def test_supervision_takes_compact_masks_for_its_own() -> None:
    rows = sv.Detections(xyxy=np.zeros((len(MASKS), 4)), mask=held(COMPACT))
    np.testing.assert_array_equal(rows.area, [mask.sum() for mask in MASKS])
    np.testing.assert_array_equal(np.asarray(rows[[2, 0]].mask), [MASKS[2], MASKS[0]])


def resident_mib() -> float:
    (kib,) = re.findall(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return float(kib) / 1024


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_dense_masks_take_memory_where_they_are_set() -> None:
    before = resident_mib()
    array = MaskArray(100, (1200, 1800), 10**9)
    for index in range(100):
        array.append(CroppedMask(np.ones((20, 30), dtype=np.bool_), x=10 * index, y=700))
    masks = array.get()
    added = resident_mib() - before
    assert isinstance(masks, np.ndarray)
    assert masks.nbytes > 200 * 2**20
    assert added < 20
    assert masks.sum() == 100 * 20 * 30
    assert masks.flags.writeable
    masks[0, 0, 0] = True
    assert masks[0].sum() == 601


@pytest.mark.parametrize("most", [10**9, 10**12])
@pytest.mark.parametrize(
    ("form", "advice"), [("auto", "Lower SAM2_BLOCK_DENSE"), ("dense", "Set SAM2_BLOCK_MASKS to")]
)
def test_more_masks_than_there_is_memory_for(most: int, form: MaskForm, advice: str) -> None:
    with pytest.raises(
        PromptError, match=rf"^{most} masks of 8192x8192 pixels take \d+ GiB, which .*\. {advice}"
    ):
        MaskArray(most, (8192, 8192), 10**30, form)


def test_compact_masks_need_no_memory_for_a_dense_array() -> None:
    array = MaskArray(10**12, (8192, 8192), 10**30, "compact")
    array.append(CroppedMask(np.ones((2, 3), dtype=np.bool_), x=5, y=6))
    assert array.get().sum() == 6
