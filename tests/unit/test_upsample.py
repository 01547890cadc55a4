"""`LowResMask` gives what interpolating the whole grid with PyTorch gives."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name that every PyTorch reader expects

from sam2_block.backends.local import upsample
from sam2_block.backends.local.upsample import LowResMask

SIDE = 64
# Where a logit is this close to 0, the rounding of single precision decides.
UNDECIDED = 1e-4


def reference(logits: np.ndarray, image_hw: tuple[int, int]) -> np.ndarray:
    whole_grid = torch.from_numpy(logits)[None, None]
    resized = F.interpolate(whole_grid, size=image_hw, mode="bilinear", align_corners=False)
    return resized[0, 0].numpy()


def full_size(low_res: LowResMask) -> np.ndarray:
    canvas = np.zeros(low_res.image_hw, dtype=np.bool_)
    low_res.mask().paste_into(canvas)
    return canvas


def assert_same_mask(logits: np.ndarray, image_hw: tuple[int, int]) -> None:
    before = logits.copy()
    mask = full_size(LowResMask.from_logits(logits, 0.5, image_hw))
    expected = reference(logits, image_hw)
    decided = np.abs(expected) > UNDECIDED
    assert decided.mean() > 0.9, "almost nothing is compared"
    wrong = np.argwhere((mask != (expected > 0)) & decided)
    assert len(wrong) == 0, f"{len(wrong)} pixels differ, the first at (y, x) = {wrong[0]}"
    np.testing.assert_array_equal(logits, before)


def blob(centre_xy: tuple[float, float], radius: float, side: int = SIDE) -> np.ndarray:
    """Logits that fall with the distance from a centre, positive within a radius."""
    y, x = np.mgrid[:side, :side]
    distance = np.hypot(x - centre_xy[0], y - centre_xy[1])
    return (radius + 0.37 - distance).astype(np.float32)


def single_cell(x: int, y: int) -> np.ndarray:
    logits = np.full((SIDE, SIDE), -3.0, dtype=np.float32)
    logits[y, x] = 5.0
    return logits


def noise(seed: int, share_positive: float = 0.5) -> np.ndarray:
    values = np.random.default_rng(seed).normal(size=(SIDE, SIDE)).astype(np.float32)
    return values - np.quantile(values, 1 - share_positive).astype(np.float32)


LAST = SIDE - 1
LOGITS = {
    "blob": blob((30.3, 25.8), 9),
    "on the left border": blob((0, 30), 5),
    "on the right border": blob((LAST, 30), 5),
    "on the top border": blob((30, 0), 5),
    "on the bottom border": blob((30, LAST), 5),
    "one row across": np.where(np.arange(SIDE)[:, None] == 20, 2.0, -1.0)
    .repeat(SIDE, axis=1)
    .astype(np.float32),
    "two parts": np.maximum(blob((10, 12), 4), blob((50, 40), 6)),
    "hole": np.minimum(blob((30, 30), 20), -blob((32, 28), 6)),
    "noise": noise(0),
    "sparse noise": noise(1, share_positive=0.01),
    "a cell inside": single_cell(17, 40),
    "first cell": single_cell(0, 0),
    "last cell": single_cell(LAST, LAST),
    "upper right cell": single_cell(LAST, 0),
    "full": np.full((SIDE, SIDE), 1.5, dtype=np.float32),
    "empty": np.full((SIDE, SIDE), -1.5, dtype=np.float32),
}
# Heights and widths.
SIZES = [
    pytest.param((1, 1), id="one pixel"),
    pytest.param((1, 500), id="one row"),
    pytest.param((500, 1), id="one column"),
    pytest.param((2, 3), id="a few pixels"),
    pytest.param((37, 41), id="smaller than the grid"),
    pytest.param((SIDE, SIDE), id="as large as the grid"),
    pytest.param((30, 900), id="smaller one way, larger the other"),
    pytest.param((303, 384), id="odd sides"),
    pytest.param((768, 1024), id="a photo"),
]


@pytest.mark.parametrize("image_hw", SIZES)
@pytest.mark.parametrize("logits", LOGITS.values(), ids=LOGITS.keys())
def test_mask_is_that_of_the_whole_grid(logits: np.ndarray, image_hw: tuple[int, int]) -> None:
    assert_same_mask(logits, image_hw)


def test_large_image_and_meta_grid() -> None:
    assert_same_mask(blob((180, 60), 70, side=256), (3000, 4000))


@pytest.mark.parametrize("seed", range(10))
def test_noise_on_odd_sizes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    height, width = (int(side) for side in rng.integers(1, 700, size=2))
    assert_same_mask(
        noise(seed + 100, share_positive=float(rng.uniform(0.001, 1))), (height, width)
    )


def test_strips_join_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    low_res = LowResMask.from_logits(noise(3), 0.5, (303, 384))
    in_one_strip = full_size(low_res)
    monkeypatch.setattr(upsample, "_STRIP_BYTES", 8 * 384 * 7)  # seven rows a strip
    np.testing.assert_array_equal(full_size(low_res), in_one_strip)
    monkeypatch.setattr(upsample, "_STRIP_BYTES", 1)  # never less than one row
    np.testing.assert_array_equal(full_size(low_res), in_one_strip)


def test_only_the_part_around_the_mask_is_kept() -> None:
    low_res = LowResMask.from_logits(single_cell(17, 40), 0.25, (303, 384))
    assert (low_res.x, low_res.y, low_res.logits.shape) == (16, 39, (3, 3))
    assert low_res.score == 0.25


def test_answer_does_not_hold_the_whole_grid_in_memory() -> None:
    logits = single_cell(17, 40)
    assert not np.shares_memory(LowResMask.from_logits(logits, 0.5, (9, 9)).logits, logits)


def test_a_mask_of_the_whole_image_takes_no_floats_of_its_size() -> None:
    low_res = LowResMask.from_logits(np.ones((256, 256), dtype=np.float32), 0.5, (3000, 4000))
    tracemalloc.start()
    try:
        pixels = low_res.mask().crop.size
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert pixels == 3000 * 4000
    # The mask, the logits widened to the image's columns, and a strip.
    assert peak < pixels + 256 * 4000 * 4 + 2 * 1024**2


def test_no_positive_logit_is_an_empty_mask() -> None:
    # 0 is not above 0.
    low_res = LowResMask.from_logits(np.zeros((SIDE, SIDE), dtype=np.float32), 0.5, (303, 384))
    assert low_res.mask().is_empty


def test_positive_cell_between_the_pixels_of_a_small_image() -> None:
    # The two pixels lie at the centres of the grid's halves; the cell touches neither.
    low_res = LowResMask.from_logits(single_cell(0, 0), 0.5, (2, 2))
    assert low_res.mask().is_empty
