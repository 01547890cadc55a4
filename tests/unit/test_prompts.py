from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sam2_block.errors import PromptError
from sam2_block.prompts import (
    LabeledPoint,
    Prompt,
    clipped_box,
    parse_point_objects,
    prompts_from_boxes,
    prompts_from_points,
)

IMAGE_HW = (100, 200)
A, B, NOT_C = LabeledPoint(1, 2), LabeledPoint(3.5, 4), LabeledPoint(5, 6, positive=False)


@pytest.mark.parametrize(
    ("box", "clipped"),
    [
        ((10, 20, 30, 40), (10, 20, 30, 40)),
        pytest.param((0, 0, 200, 100), (0, 0, 200, 100), id="the whole image"),
        pytest.param((-5, -6, 999, 998), (0, 0, 200, 100), id="over every border"),
        pytest.param((190, 90, 260, 120), (190, 90, 200, 100), id="over the lower right corner"),
        pytest.param((10.25, 20.5, 10.75, 21.5), (10.25, 20.5, 10.75, 21.5), id="half a pixel"),
        pytest.param((30, 40, 10, 20), None, id="corners swapped"),
        pytest.param((10, 20, 10, 40), None, id="no width"),
        pytest.param((10, 20, 30, 20), None, id="no height"),
        pytest.param((0, 0, 0, 0), None, id="all zero"),
        pytest.param((200, 10, 230, 20), None, id="just right of the image"),
        pytest.param((10, 100, 20, 120), None, id="just below the image"),
        pytest.param((-30, 10, 0, 20), None, id="just left of the image"),
    ],
)
def test_box_is_clipped(box: tuple[float, ...], clipped: tuple[float, ...] | None) -> None:
    (prompt,) = prompts_from_boxes(np.array([box]), IMAGE_HW, "empty")
    assert (prompt and prompt.box_xyxy) == clipped
    if clipped is None:
        with pytest.raises(PromptError, match=r"^box 0: .* has no area inside the image"):
            prompts_from_boxes(np.array([box]), IMAGE_HW, "error")
    else:
        assert prompts_from_boxes(np.array([box]), IMAGE_HW, "error") == [prompt]


def test_prompts_keep_the_order_of_the_boxes() -> None:
    boxes = np.array([[5, 5, 9, 9], [7, 7, 7, 7], [1, 1, 2, 2]])
    first, second, third = prompts_from_boxes(boxes, IMAGE_HW, "empty")
    assert (first.box_xyxy, second, third.box_xyxy) == ((5, 5, 9, 9), None, (1, 1, 2, 2))


@pytest.mark.parametrize("boxes", [np.empty((0, 4)), np.empty((0, 4), dtype=np.float32), []])
def test_no_boxes_no_prompts(boxes: Any) -> None:
    assert prompts_from_boxes(boxes, IMAGE_HW, "error") == []


def test_boxes_are_not_changed() -> None:
    boxes = np.array([[-5, -6, 999, 998]], dtype=np.float32)
    prompts_from_boxes(boxes, IMAGE_HW, "empty")
    assert boxes.tolist() == [[-5, -6, 999, 998]]


NOT_FINITE = [np.nan, np.inf, -np.inf, 1e39, -1e39, 1e300]


@pytest.mark.parametrize("bad", NOT_FINITE)
@pytest.mark.parametrize("edge", range(4))
def test_box_that_is_not_finite_in_float32_is_an_invalid_box(bad: float, edge: int) -> None:
    boxes = np.array([[1.0, 1, 5, 5], [1, 1, 5, 5], [2, 2, 6, 6]])
    boxes[1, edge] = bad
    for invalid_boxes in ("empty", "drop"):
        prompts = prompts_from_boxes(boxes, IMAGE_HW, invalid_boxes)
        assert prompts == [Prompt((1, 1, 5, 5)), None, Prompt((2, 2, 6, 6))]
    message = r"^box 1: \[.*\] has a coordinate that is not a finite number of 32 bits\."
    with pytest.raises(PromptError, match=message):
        prompts_from_boxes(boxes, IMAGE_HW, "error")


@pytest.mark.parametrize(
    "box",
    [
        *[(1, 1, 5, bad) for bad in NOT_FINITE],
        (-9, -9, -1, -1),
        (5, 5, 1, 1),
        (900, 900, 990, 990),
        (900, 1, 990, 5),
    ],
)
def test_invalid_box_has_a_point_inside_the_image(box: tuple[float, ...]) -> None:
    height, width = IMAGE_HW
    left, top, right, bottom = clipped_box(np.array(box, dtype=np.float64), IMAGE_HW)
    assert (0 <= left <= right <= width, 0 <= top <= bottom <= height) == (True, True)
    # As a prompt of a further step it is invalid again.
    assert left == right or top == bottom


def test_boxes_taken_keep_the_index_that_the_caller_knows() -> None:
    boxes = np.array([[1, 2, 3, 4], [5, 6, 7, 8], [np.nan, 0, 1, 1]])
    (prompt,) = prompts_from_boxes(boxes, IMAGE_HW, "error", indices=[1])
    assert prompt == Prompt(box_xyxy=(5, 6, 7, 8))
    with pytest.raises(PromptError, match=r"^box 2: "):
        prompts_from_boxes(boxes, IMAGE_HW, "error", indices=[2])


@pytest.mark.parametrize(
    ("given", "objects"),
    [
        (None, []),
        ([], []),
        ((), []),
        (np.empty((0, 2)), []),
        pytest.param([[1, 2]], [[A]], id="a list holding one point is one object"),
        pytest.param([(1, 2), (3.5, 4)], [[A, B]], id="tuples"),
        pytest.param([{"x": 1, "y": 2}], [[A]], id="dict, positive by default"),
        pytest.param([{"x": 5, "y": 6, "positive": False}], [[NOT_C]], id="negative dict"),
        pytest.param([[5, 6, False]], [[NOT_C]], id="negative list"),
        pytest.param([[5, 6, 0], [1, 2, 1]], [[NOT_C, A]], id="labels 0 and 1"),
        pytest.param([{"x": 1, "y": 2}, (5, 6, False)], [[A, NOT_C]], id="dict beside tuple"),
        pytest.param([[[1, 2]], [[3.5, 4], [5, 6, False]]], [[A], [B, NOT_C]], id="two objects"),
        pytest.param([[{"x": 1, "y": 2}], [(3.5, 4)]], [[A], [B]], id="objects in two styles"),
        pytest.param(np.array([[1, 2], [3.5, 4]]), [[A, B]], id="array (N, 2)"),
        pytest.param(np.array([[[1, 2]], [[3.5, 4]]]), [[A], [B]], id="array (N, 1, 2)"),
        pytest.param(np.array([[5, 6, 0], [1, 2, 1]]), [[NOT_C, A]], id="array with labels"),
        pytest.param([[np.float32(1), np.int64(2), np.bool_(True)]], [[A]], id="numpy scalars"),
        pytest.param([[1, 2, np.int64(1)], [5, 6, np.float64(0)]], [[A, NOT_C]], id="numpy labels"),
    ],
)
def test_points_are_read(given: Any, objects: list[list[LabeledPoint]]) -> None:
    assert parse_point_objects(given) == objects


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("points", r"^points: expected a list of points, such as \[\{.*; got 'points'\. Put"),
        (7, r"^points: expected a list of points, such as .*; got 7\. "),
        # One point without its list: half the people write it so.
        ({"x": 1, "y": 2}, r"got \{'x': 1, 'y': 2\}\. Put a single point in a list,"),
        ('[{"x": 1, "y": 2}]', r"parse JSON text first\.$"),
        ([[1]], r"object 0, point 0: .* got \[1\]"),
        ([[1, 2, True, 4]], r"object 0, point 0: .* got \[1, 2, True, 4\]"),
        ([[1, 2], [3]], "object 0, point 1: "),
        (
            [{"x": 1}],
            r"object 0, point 0: expected x, y and positive, and nothing more; got \{'x': 1\}\.$",
        ),
        ([{"x": 1, "y": 2, "id": 7}], r"expected x, y and positive, and nothing more; got .*'id'"),
        (
            [{"x": 1, "y": 2, "label": 0}],
            r"got .*'label': 0.*For `label` write `positive`: true for 1, false for 0\.$",
        ),
        ([{"x": "1", "y": 2}], "point 0: expected x to be a finite number; got '1'"),
        ([[1, True]], "expected y to be a finite number; got True"),
        ([[1, None]], "expected y to be a finite number; got None"),
        ([[float("nan"), 2]], "expected x to be a finite number; got nan"),
        ([[1, float("-inf")]], "expected y to be a finite number; got -inf"),
        ([[1, 2, 2]], "object 0, point 0: expected positive to be true or false; got 2"),
        ([[1, 2, -1]], "expected positive to be true or false; got -1"),
        ([[1, 2, "false"]], "expected positive to be true or false; got 'false'"),
        ([[1, 2, None]], "expected positive to be true or false; got None"),
        ([{"x": 1, "y": 2, "positive": [1]}], r"positive to be true or false; got \[1\]"),
        ([[[1, 2]], []], "^points: object 1: expected at least one point"),
        ([[]], "^points: object 0: expected at least one point"),
        ([[[1, 2]], [3, 4]], r"^points: object 1: expected a list of points, .* got \[3, 4\]"),
        ([[1, 2], [[3, 4]]], r"^points: object 0: expected a list of points, .* got \[1, 2\]"),
        ([[[1, 2], [3, "y"]]], "object 0, point 1: expected y to be a finite number"),
        pytest.param("x" * 500, r"got 'x{76}\.\.\.\. ", id="a long value is cut"),
    ],
)
def test_malformed_points_are_named(given: Any, says: str) -> None:
    with pytest.raises(PromptError, match=says):
        parse_point_objects(given)


@pytest.mark.parametrize("one_point", [[1, 2], [1, 2, True], ["a"], [None]])
def test_point_without_its_list_is_named(one_point: Any) -> None:
    with pytest.raises(PromptError, match=r"^points: (?!.*other objects)"):
        parse_point_objects(one_point)


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(np.array(5), id="array without axes"),
        pytest.param([[10**400, 2]], id="integer beyond any float"),
        pytest.param([[np.complex64(1), 2]], id="complex number"),
        pytest.param([[1, 2, np.array([0, 1])]], id="array for positive"),
    ],
)
def test_odd_points_are_prompt_errors(given: Any) -> None:
    with pytest.raises(PromptError):
        parse_point_objects(given)


@pytest.mark.parametrize("inside", [(0, 0), (199.9, 99.9), (199, 0), (0, 99)])
def test_point_inside_the_image(inside: tuple[float, float]) -> None:
    (prompt,) = prompts_from_points([inside], IMAGE_HW)
    assert prompt.points == (LabeledPoint(*inside),)


@pytest.mark.parametrize("outside", [(200, 0), (0, 100), (-0.5, 0), (0, -1), (1e9, 1e9)])
def test_point_outside_the_image(outside: tuple[float, float]) -> None:
    message = r"^points: object 1, point 2: \(.*\) lies outside the image \(200 wide, 100 high\)"
    with pytest.raises(PromptError, match=message):
        prompts_from_points([[(5, 5)], [(5, 5), (6, 6), outside]], IMAGE_HW)


def test_each_point_list_is_one_prompt() -> None:
    prompts = prompts_from_points([[[1, 2]], [[3.5, 4], [5, 6, False]]], IMAGE_HW)
    assert prompts == [Prompt(points=(A,)), Prompt(points=(B, NOT_C))]


@pytest.mark.parametrize(
    ("prompt", "extent"),
    [
        (Prompt(box_xyxy=(1, 2, 3, 4)), (1, 2, 3, 4)),
        (Prompt(points=(A,)), (1, 2, 1, 2)),
        pytest.param(Prompt(points=(NOT_C, A, B)), (1, 2, 3.5, 4), id="points on the object"),
        pytest.param(Prompt(points=(NOT_C,)), (5, 6, 5, 6), id="none is on the object"),
        pytest.param(Prompt(box_xyxy=(2, 2, 3, 3), points=(A,)), (2, 2, 3, 3), id="box before all"),
    ],
)
def test_extent(prompt: Prompt, extent: tuple[float, ...]) -> None:
    assert prompt.extent_xyxy == extent


def test_a_prompt_asks_for_something() -> None:
    with pytest.raises(PromptError, match="needs a box or at least one point; got neither"):
        Prompt()
