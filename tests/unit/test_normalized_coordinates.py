"""Coordinates from 0 to 1 are read as pixels, and warned of once for each kind of prompt."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import supervision as sv

from sam2_block import Segmenter
from sam2_block.backends.fake import FakeBackend
from sam2_block.messages.warn_once import forget_warnings

PHOTO = np.zeros((60, 80, 3), dtype=np.uint8)


def boxes(*xyxy: tuple[float, ...]) -> sv.Detections:
    return sv.Detections(xyxy=np.array(xyxy, dtype=float).reshape(-1, 4))


@pytest.fixture(autouse=True)
def nothing_warned_of_yet() -> None:
    forget_warnings()


def segment(detections: Any, points: Any, photo: np.ndarray = PHOTO) -> sv.Detections:
    return Segmenter("demo", backend=FakeBackend()).segment(photo, detections, points)


SHARE, PIXELS = (0.25, 0.25, 0.75, 0.75), (10, 10, 30, 30)


@pytest.mark.parametrize(
    ("detections", "points", "kinds"),
    [
        (boxes(SHARE), None, ["boxes"]),
        (boxes(SHARE, (0, 0, 1, 1)), None, ["boxes"]),
        pytest.param(boxes((0, 0, 1, 1)), None, ["boxes"], id="the whole image as a share"),
        pytest.param(boxes((-0.2, 0.1, 0.9, 1)), None, ["boxes"], id="over the border"),
        (None, [[0.5, 0.5]], ["points"]),
        (None, [[[0.5, 0.5]], [[0.25, 1, False]]], ["points"]),
        (boxes(SHARE), [[0.5, 0.5]], ["boxes", "points"]),
        (boxes(SHARE), [[50, 50]], ["boxes"]),
        (boxes(PIXELS), [[0.5, 0.5]], ["points"]),
    ],
)
def test_normalized_coordinates_are_warned_of(
    detections: Any, points: Any, kinds: list[str], caplog: Any
) -> None:
    rows = segment(detections, points)
    assert [message.split(":")[0] for message in caplog.messages] == kinds
    assert len(rows) > 0  # read as pixels, as before
    for message in caplog.messages:
        assert "read as pixels of an image 80 wide and 60 high" in message


@pytest.mark.parametrize(
    ("detections", "points"),
    [
        (boxes(PIXELS), None),
        pytest.param(boxes(SHARE, PIXELS), None, id="one of several"),
        pytest.param(boxes((0.25, 0.25, 1.75, 0.75)), None, id="a thin object in the corner"),
        pytest.param(boxes((90, 90, 95, 95)), None, id="outside"),
        pytest.param(boxes(), None, id="no boxes"),
        pytest.param(None, [[0, 0]], id="a click into the corner"),
        pytest.param(None, [[1, 0], [0, 1]], id="clicks into the corner"),
        pytest.param(None, [[[0.5, 0.5]], [[40, 30]]], id="one of several objects"),
        pytest.param(None, [[0.5, 30.5]], id="at the left edge"),
    ],
)
def test_pixels_are_not(detections: Any, points: Any, caplog: Any) -> None:
    segment(detections, points)
    assert caplog.messages == []


def test_an_image_of_a_few_pixels_is_not(caplog: Any) -> None:
    segment(boxes((0, 0, 1, 1)), [[0.5, 0.5]], np.zeros((2, 3, 3), np.uint8))
    assert caplog.messages == []


def test_a_stream_is_warned_of_once(caplog: Any) -> None:
    for _ in range(5):
        segment(boxes(SHARE), [[0.5, 0.5]])
    assert len(caplog.messages) == 2
