from __future__ import annotations

import numpy as np
import pytest

from sam2_block.errors import ImageError
from sam2_block.images import MAX_SIDE, as_image, rgb_channels


def pixels(*shape: int) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)


@pytest.mark.parametrize(
    ("came", "shape"),
    [
        pytest.param((4, 5), (4, 5), id="grey"),
        pytest.param((4, 5, 1), (4, 5), id="grey with an axis of channels"),
        pytest.param((4, 5, 3), (4, 5, 3), id="BGR"),
        pytest.param((4, 5, 4), (4, 5, 3), id="BGRA"),
        pytest.param((1, 1, 3), (1, 1, 3), id="one pixel"),
        # Three wide and grey: the last axis is not one of channels.
        pytest.param((4, 3), (4, 3), id="narrow grey"),
        pytest.param((1, MAX_SIDE), (1, MAX_SIDE), id="as wide as can be"),
        pytest.param((MAX_SIDE, 1, 3), (MAX_SIDE, 1, 3), id="as high as can be"),
    ],
)
def test_image_is_a_view_without_alpha(came: tuple[int, ...], shape: tuple[int, ...]) -> None:
    raw = pixels(*came)
    image = as_image(raw)
    assert image.shape == shape
    assert np.shares_memory(image, raw)
    expected = raw.reshape(*came[:2], -1)[..., : 3 if len(shape) == 3 else 1]
    np.testing.assert_array_equal(image.reshape(expected.shape), expected)


@pytest.mark.parametrize(
    ("came", "says"),
    [
        ([[0, 1], [2, 3]], "got list"),
        (None, "got NoneType"),
        (np.zeros((4, 5, 3), np.float32), r"got float32 of shape \(4, 5, 3\)"),
        (np.zeros((4, 5), np.bool_), r"got bool of shape \(4, 5\)"),
        (np.zeros(4, np.uint8), r"got uint8 of shape \(4,\)"),
        (np.zeros((1, 4, 5, 3), np.uint8), r"got uint8 of shape \(1, 4, 5, 3\)"),
        (np.zeros((3, 4, 5), np.uint8), r"got 5 channels \(shape \(3, 4, 5\)\)"),
        (np.zeros((4, 5, 2), np.uint8), "got 2 channels"),
        (np.zeros((0, 5, 3), np.uint8), "1 to 8192 pixels; got 5 wide, 0 high"),
        (np.zeros((5, 0), np.uint8), "got 0 wide, 5 high"),
        (np.zeros((1, MAX_SIDE + 1), np.uint8), "got 8193 wide, 1 high. Resize or slice"),
        (np.zeros((MAX_SIDE + 1, 1, 3), np.uint8), "got 1 wide, 8193 high. Resize or slice"),
    ],
)
def test_what_is_no_image_is_refused(came: object, says: str) -> None:
    with pytest.raises(ImageError, match=rf"^expected .*{says}"):
        as_image(came)


def test_channels_come_out_as_red_green_blue() -> None:
    blue_green_red = np.array([[[1, 2, 3]]], dtype=np.uint8)
    assert [channel.tolist() for channel in rgb_channels(blue_green_red)] == [[[3]], [[2]], [[1]]]


def test_one_grey_channel_stands_for_all_three() -> None:
    grey = pixels(2, 3)
    (channel,) = rgb_channels(grey)
    assert channel is grey
