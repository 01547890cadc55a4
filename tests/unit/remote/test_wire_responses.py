"""Masks and scores in answers; nothing that is odd is made up for, and none of it is shown."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sam2_block.backends.protocol import ReadyPrediction
from sam2_block.backends.remote.wire import parse_response
from sam2_block.errors import RemoteResponseError
from sam2_block.masks import CroppedMask, coco_rle

HW = (20, 30)


def prediction(**changed: Any) -> dict[str, Any]:
    mask = np.zeros(HW, np.bool_)
    mask[3:5, 6:9] = True
    return {"masks": coco_rle(mask), "confidence": 0.5, "format": "rle", **changed}


def parsed(*items: Any) -> list[ReadyPrediction]:
    return parse_response({"predictions": list(items), "time": 1}, len(items), HW)


def test_answer() -> None:
    first, second = parsed(prediction(), prediction(masks=[], confidence=1))
    assert (first.score, first.mask().box_xyxy) == (0.5, (6, 3, 8, 4))
    assert first.mask().crop.all()
    assert (second.score, second.mask().is_empty) == (1.0, True)
    assert isinstance(second.score, float)
    # The crop does not keep the memory of the whole mask.
    assert first.mask().crop.base is None


@pytest.mark.parametrize("answer", [None, [], "x", {}, {"predictions": None}, {"predictions": {}}])
def test_answer_without_predictions(answer: Any) -> None:
    with pytest.raises(RemoteResponseError, match=r"^a response without a list `predictions`$"):
        parse_response(answer, 0, HW)


@pytest.mark.parametrize(("count", "asked"), [(0, 1), (1, 2), (3, 2)])
def test_answer_with_another_number_of_predictions(count: int, asked: int) -> None:
    with pytest.raises(RemoteResponseError, match=f"^{count} predictions for {asked} prompts$"):
        parse_response({"predictions": [prediction()] * count}, asked, HW)


SECRET = "k3y"
NO_NUMBER = "with a confidence that is not a number"


@pytest.mark.parametrize(
    ("item", "says"),
    [
        (None, "without `masks` and `confidence`"),
        ([SECRET], "without `masks` and `confidence`"),
        ({"masks": []}, "without `masks` and `confidence`"),
        ({"confidence": 1}, "without `masks` and `confidence`"),
        (prediction(confidence=None), NO_NUMBER),
        (prediction(confidence=SECRET), NO_NUMBER),
        (prediction(confidence="0.5"), NO_NUMBER),
        (prediction(confidence=True), NO_NUMBER),
        (prediction(confidence=[0.5]), NO_NUMBER),
        (prediction(confidence=float("nan")), "with the confidence 'nan'"),
        (prediction(confidence=float("inf")), "with the confidence 'inf'"),
        (prediction(confidence=1.01), "with the confidence '1.01'"),
        (prediction(confidence=-0.5), "with the confidence '-0.5'"),
        # More than a float can hold.
        (prediction(confidence=10**400), f"with the confidence '1{'0' * 39}'"),
        (prediction(masks=None), "with a mask that cannot be decoded: no text `counts`"),
        (prediction(masks=SECRET), "with a mask that cannot be decoded: no text `counts`"),
        (
            prediction(masks={"size": SECRET, "counts": "0"}),
            "with a mask that cannot be decoded: a size other than [20, 30]",
        ),
    ],
)
def test_prediction_that_is_none(item: Any, says: str) -> None:
    with pytest.raises(RemoteResponseError) as caught:
        parsed(prediction(), item)
    assert str(caught.value) == f"prediction 1 {says}"


def filled(*polygons: Any) -> CroppedMask:
    (found,) = parsed(prediction(masks=list(polygons), format="json"))
    return found.mask()


def test_parts_are_one_object() -> None:
    canvas = np.zeros(HW, np.bool_)
    filled([[1, 1], [4, 1], [4, 4], [1, 4]], [], [[10, 12], [10, 12]]).paste_into(canvas)
    expected = np.zeros(HW, np.bool_)
    expected[1:5, 1:5] = expected[12, 10] = True
    np.testing.assert_array_equal(canvas, expected)


def test_parts_that_overlap_do_not_cancel_out() -> None:
    square = [[1, 1], [8, 1], [8, 8], [1, 8]]
    inner = [[3, 3], [6, 3], [6, 6], [3, 6]]
    assert filled(square, inner).crop.sum() == filled(square, square).crop.sum() == 64


def test_polygons_that_reach_the_border() -> None:
    assert filled([[0, 0], [30, 0], [30, 20], [0, 20]]).crop.shape == HW
    assert filled([[0.4, 0.4], [0.6, 0.4]]).box_xyxy == (0, 0, 1, 0)
    assert filled([[7, 8]]).box_xyxy == (7, 8, 7, 8)


NO_POINTS = "a polygon that is not a list of points"


@pytest.mark.parametrize(
    ("polygon", "says"),
    [
        (None, NO_POINTS),
        (5, NO_POINTS),
        (SECRET, NO_POINTS),
        ({"x": 1, "y": 2}, NO_POINTS),
        ([1, 2, 3, 4], NO_POINTS),
        ([[1], [2]], NO_POINTS),
        ([[1, 2, 3]], NO_POINTS),
        ([[1, 2], [3]], NO_POINTS),
        ([[[1, 2]]], NO_POINTS),
        ([[], []], NO_POINTS),
        ([[1, None]], NO_POINTS),
        ([[1, SECRET]], NO_POINTS),
        ([{"x": 1, "y": 2}], NO_POINTS),
        ([[1, float("nan")]], NO_POINTS),
        ([[float("inf"), 1]], NO_POINTS),
        ([[1, 10**400]], NO_POINTS),
        ([["1", "2"], ["3", "4"]], "a polygon with coordinates that are not numbers"),
        ([[1, "2"]], "a polygon with coordinates that are not numbers"),
        ([[True, False]], "a polygon with coordinates that are not numbers"),
        ([[-1, 2]], "a polygon that extends outside the image"),
        ([[1, 20.5]], "a polygon that extends outside the image"),
        ([[30.5, 1]], "a polygon that extends outside the image"),
        ([[1, 1], [1e300, 1]], "a polygon that extends outside the image"),
    ],
)
def test_polygon_that_is_none(polygon: Any, says: str) -> None:
    with pytest.raises(RemoteResponseError) as caught:
        filled([[1, 1], [2, 2]], polygon)
    assert str(caught.value) == f"prediction 0 with a mask that cannot be decoded: {says}"
    cause = caught.value.__cause__
    assert SECRET not in repr((cause, cause.__cause__, cause.__context__))


@pytest.mark.parametrize("depth", [40, 400, 900])
def test_mask_as_deep_as_a_server_likes(depth: int) -> None:
    nested: Any = 1
    for _ in range(depth):
        nested = [nested]
    for masks in (nested, {"size": nested, "counts": "0"}, {"size": [20, 30], "counts": nested}):
        with pytest.raises(RemoteResponseError):
            parsed(prediction(masks=masks))
    with pytest.raises(RemoteResponseError):
        parsed(prediction(confidence=nested))
