"""Too many boxes or points are refused before anything is made of them, wherever they come in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import supervision as sv

from sam2_block import Segmenter, prompts
from sam2_block.backends.fake import FakeBackend
from sam2_block.errors import PromptError
from sam2_block.masks.arrays import MaskArray
from sam2_block.prompts import parse_point_objects
from sam2_block.prompts.limits import check_prompt_count
from sam2_block.segment_options import SegmentOptions
from sam2_block.segmentation import segment_image
from sam2_block.settings import LimitSettings

PHOTO = np.zeros((60, 80, 3), dtype=np.uint8)
LIMITS = LimitSettings(max_prompts=6, max_points=4)
POINT, DICT = [5, 5], {"x": 5, "y": 5}
TOO_MANY = r"^more than 6 boxes and points for one image.*SAM2_BLOCK_MAX_PROMPTS"
TOO_LONG = r"^points: object {}: {} points; the limit is 4 for one object.*SAM2_BLOCK_MAX_POINTS"


@pytest.mark.parametrize(
    ("boxes", "points"),
    [
        (0, None),
        (6, None),
        (6, []),
        (2, [POINT] * 4),
        (2, [DICT] * 4),
        (0, [[POINT] * 4, [DICT, DICT]]),
        (0, [[POINT]] * 6),
        (0, np.full((4, 2), 5.0)),
        (0, np.full((2, 3, 2), 5.0)),
        (3, ((5, 5), (6, 6), (7, 7, False))),
        # Malformed: refused by who reads them, in its own words.
        (0, "points" * 100),
        (0, {"x": 1, "y": 2}),
        (0, 7),
        (0, [[], []]),
        (0, np.array(7)),
    ],
)
def test_as_many_as_the_limits_permit(boxes: int, points: Any) -> None:
    check_prompt_count(LIMITS, boxes, points)


@pytest.mark.parametrize(
    ("boxes", "points", "says"),
    [
        (7, None, TOO_MANY),
        (4, [POINT] * 3, TOO_MANY),
        (0, [[POINT]] * 7, TOO_MANY),
        (0, [[POINT] * 3] * 3, TOO_MANY),
        (0, np.full((7, 1, 2), 5.0), TOO_MANY),
        # Malformed, and long: counted all the same.
        (0, [None] * 7, TOO_MANY),
        (0, [[]] * 7, TOO_MANY),
        (0, [POINT] * 5, TOO_LONG.format(0, 5)),
        (0, [DICT] * 5, TOO_LONG.format(0, 5)),
        (0, tuple([(5, 5)] * 5), TOO_LONG.format(0, 5)),
        (0, [[POINT], [POINT] * 5], TOO_LONG.format(1, 5)),
        (0, [[DICT] * 1000], TOO_LONG.format(0, 1000)),
        (0, np.full((5, 2), 5.0), TOO_LONG.format(0, 5)),
        (0, np.full((1, 5, 2), 5.0), TOO_LONG.format(0, 5)),
    ],
)
def test_more_than_the_limits_permit(boxes: int, points: Any, says: str) -> None:
    with pytest.raises(PromptError, match=says):
        check_prompt_count(LIMITS, boxes, points)


class Counted(list):  # type: ignore[type-arg]
    """A list that counts how many of its items are looked at."""

    looked_at = 0

    def __iter__(self) -> Any:
        for item in super().__iter__():
            self.looked_at += 1
            yield item


@pytest.mark.parametrize("items", [[POINT], [DICT], [[POINT]], [None]])
def test_a_long_list_is_not_gone_through(items: list[Any]) -> None:
    points = Counted(items * 1_000_000)
    with pytest.raises(PromptError):
        check_prompt_count(LIMITS, 0, points)
    assert points.looked_at == 0


def test_a_limit_is_checked_before_prompts_masks_or_backend_are_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("made too early")

    for module, name in ((prompts, "parse_point_objects"), (prompts.Prompt, "__post_init__")):
        monkeypatch.setattr(module, name, refuse)
    monkeypatch.setattr(MaskArray, "__init__", refuse)
    backend, options = FakeBackend(), SegmentOptions("demo")
    boxes = sv.Detections(xyxy=np.array([[1.0, 1, 9, 9]] * 7))
    for given in ((boxes, None), (None, [[POINT]] * 7), (boxes[:3], [POINT] * 4)):
        with pytest.raises(PromptError, match=TOO_MANY):
            segment_image(backend, PHOTO, *given, options, limits=LIMITS)
    assert backend.calls == []


def test_boxes_that_the_class_filter_drops_do_not_count() -> None:
    names = np.array(["tree"] * 20 + ["car"] * 6)
    boxes = sv.Detections(xyxy=np.array([[1.0, 1, 9, 9]] * 26), data={"class_name": names})
    options = SegmentOptions("demo", class_filter=["car"])
    rows = segment_image(FakeBackend(), PHOTO, boxes, None, options, limits=LIMITS)
    assert len(rows) == 6


def test_segmenter_has_the_operators_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    clicks = [[POINT]] * 3
    assert len(Segmenter("demo", backend=FakeBackend()).segment(PHOTO, None, clicks)) == 3
    monkeypatch.setenv("SAM2_BLOCK_MAX_PROMPTS", "2")
    with pytest.raises(PromptError, match=r"^more than 2 boxes and points"):
        Segmenter("demo", backend=FakeBackend()).segment(PHOTO, None, clicks)
    monkeypatch.setenv("SAM2_BLOCK_MAX_POINTS", "1")
    with pytest.raises(PromptError, match=r"^points: object 0: 2 points; the limit is 1"):
        Segmenter("demo", backend=FakeBackend()).segment(PHOTO, None, [POINT] * 2)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param([0] * 1_000_000, id="list"),
        pytest.param({str(key): key for key in range(100_000)}, id="dict"),
        pytest.param("x" * 10_000_000, id="text"),
        pytest.param(10**5000, id="more digits than Python writes"),
        pytest.param([[[0] * 100_000] * 100], id="nested"),
    ],
)
def test_a_huge_value_is_named_in_few_characters(value: Any) -> None:
    for points in ([[1, value]], value, [[1, 2, value]], {"x": value, "y": 1}):
        with pytest.raises(PromptError) as caught:
            parse_point_objects(points)
        assert len(str(caught.value)) < 300
