"""Every malformation of every column that a detector gives: read, or refused with one error."""

from __future__ import annotations

import copy
import datetime
from typing import Any

import numpy as np
import pytest
import supervision as sv
from supervision.detection.compact_mask import CompactMask

from sam2_block import Segmenter
from sam2_block.backends.fake import FakeBackend
from sam2_block.errors import PromptError
from sam2_block.rows.row_checks import checked_rows, shown

PHOTO = np.zeros((30, 40, 3), dtype=np.uint8)
NAN, INF = float("nan"), float("inf")


def two_boxes() -> sv.Detections:
    return sv.Detections(
        xyxy=np.array([[1.0, 2, 10, 12], [5, 6, 20, 25]]),
        confidence=np.array([0.5, 0.25]),
        class_id=np.array([3, 4]),
        tracker_id=np.array([7, 8]),
        data={"class_name": np.array(["cat", "dog"])},
    )


def with_column(column: str, values: Any) -> sv.Detections:
    """Set a column past supervision's own checks, as programs do that fill rows in."""
    rows = two_boxes()
    if column in ("xyxy", "mask", "confidence", "class_id", "tracker_id", "data", "metadata"):
        setattr(rows, column, values)
    else:
        rows.data[column] = values
    return rows


def objects(*values: Any) -> np.ndarray:
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


# --- read: what another program may well mean, and what it is read as ---

READ: list[tuple[str, Any, Any]] = [
    ("xyxy", [[1, 2, 10, 12], [5, 6, 20, 25]], [[1, 2, 10, 12], [5, 6, 20, 25]]),
    ("xyxy", np.array([[1, 2, 10, 12], [5, 6, 20, 25]], np.uint8), None),
    ("xyxy", np.array([[1, 2, 10, 12], [5, 6, 20, 25]], np.float16), None),
    ("xyxy", np.array([[1, 2, 10, 12], [5, 6, 20, 25]], object), None),
    ("xyxy", [[1, 2, 10, 12], [5, 6, 20, 10**400]], [[1, 2, 10, 12], [5, 6, 20, INF]]),
    ("confidence", None, None),
    ("confidence", [0.5, 1], [0.5, 1]),
    ("confidence", np.array([0.5, NAN]), [0.5, NAN]),
    ("confidence", np.array([INF, 0.5]), [NAN, 0.5]),
    ("confidence", np.array([1e300, 0.5]), [NAN, 0.5]),
    ("confidence", objects(None, 0.5), [NAN, 0.5]),
    ("confidence", [None, 0.5], [NAN, 0.5]),
    ("confidence", np.array([1, 0]), [1, 0]),
    ("class_id", None, None),
    ("class_id", [3, 4], [3, 4]),
    ("class_id", np.array([3.0, 4.0]), [3, 4]),
    ("class_id", np.array([3, 4], np.uint64), [3, 4]),
    ("class_id", objects(np.int16(3), 4.0), [3, 4]),
    ("tracker_id", None, None),
    ("tracker_id", [7, None], [7, -1]),
    ("tracker_id", objects(None, None), [-1, -1]),
    ("tracker_id", np.array([7, NAN]), [7, -1]),
    ("tracker_id", [7, NAN], [7, -1]),
    ("tracker_id", objects(np.float32(NAN), np.int8(8)), [-1, 8]),
    ("tracker_id", np.array([7, 2**63 - 1]), [7, 2**63 - 1]),
    ("class_name", ["cat", "dog"], ["cat", "dog"]),
    ("class_name", objects("cat", b"dog"), ["cat", "dog"]),
    ("class_name", np.array([b"cat", b"dog"]), ["cat", "dog"]),
    ("class_name", np.array([3, 4]), ["3", "4"]),
    ("class_name", objects("cat", 4), ["cat", "4"]),
    ("note", [None, {"a": 1}], [None, {"a": 1}]),
    ("note", ("a", "b"), ["a", "b"]),
    ("note", [[1, 2], [3]], [[1, 2], [3]]),
    ("note", np.array([1 + 2j, 3]), [1 + 2j, 3]),
    ("note", np.ones((2, 3, 4)), np.ones((2, 3, 4)).tolist()),
    ("note", np.array(["2024-05-01", "NaT"], "M8[s]"), [datetime.datetime(2024, 5, 1), None]),
]  # fmt: skip


def plain(values: Any) -> Any:
    return values.tolist() if isinstance(values, np.ndarray) else values


@pytest.mark.parametrize(("column", "values", "expected"), READ)
def test_column_is_read(column: str, values: Any, expected: Any) -> None:
    given = with_column(column, values)
    before = copy.deepcopy(vars(given))
    rows = checked_rows(given)
    assert repr(vars(given)) == repr(before)
    found = getattr(rows, column) if hasattr(rows, column) else rows.data[column]
    np.testing.assert_equal(plain(found), plain(values if expected is None else expected))
    # And every step behind it takes what was read.
    segmented = Segmenter("demo", backend=FakeBackend()).segment(PHOTO, given, [[3, 3]])
    assert len(segmented) == 3
    assert np.isfinite(segmented.confidence).all()
    assert np.isfinite(segmented.xyxy).all()


# --- refused: column, row where there is one, and what is said to be expected ---

ANY_COLUMN = [
    pytest.param(5, id="number"),
    pytest.param(0.5, id="float"),
    pytest.param("text", id="text"),
    pytest.param(b"bytes", id="bytes"),
    pytest.param(1 + 2j, id="complex number"),
    pytest.param({"a": 1}, id="dict"),
    pytest.param({1, 2}, id="set"),
    pytest.param(object(), id="object"),
    pytest.param(np.array(5), id="array without axes"),
    pytest.param(np.float64(5), id="scalar of NumPy"),
    pytest.param(datetime.datetime(2024, 5, 1), id="time"),
    pytest.param([1], id="too short"),
    pytest.param([1, 2, 3], id="too long"),
    pytest.param([], id="empty list"),
    pytest.param(np.array([1]), id="array too short"),
    pytest.param(np.arange(3), id="array too long"),
    pytest.param(np.array([]), id="empty array"),
]
NUMBERS_ALONE = [
    pytest.param(["a", "b"], 0, id="texts"),
    pytest.param(np.array(["1", "2"]), 0, id="array of texts"),
    pytest.param([1, "2"], 1, id="text beside number"),
    pytest.param([b"1", 2], 0, id="bytes beside number"),
    pytest.param(np.array([1 + 2j, 3]), 0, id="complex numbers"),
    pytest.param([1, [2]], 1, id="list as a cell"),
    pytest.param(objects(1, np.array([1, 2])), 1, id="array as a cell"),
    pytest.param(np.array([True, False]), 0, id="bools"),
    pytest.param([True, 1.5], 0, id="bool as a cell"),
    pytest.param(np.array(["2024-05-01"] * 2, "M8[s]"), 0, id="times"),
    pytest.param([{}, 1], 0, id="dict as a cell"),
    pytest.param(np.array([[1, 2], [3, 4]]), None, id="two axes"),
    pytest.param(np.array([[1], [2]]), None, id="column vector"),
]
INTEGERS_ALONE = [
    pytest.param(np.array([1.5, 2]), 0, id="fraction"),
    pytest.param(np.array([1, INF]), 1, id="infinity"),
    pytest.param(np.array([1, -INF]), 1, id="minus infinity"),
    pytest.param([1, 2**63], 1, id="beyond int64"),
    pytest.param([-(2**63) - 1, 2], 0, id="below int64"),
    pytest.param(np.array([1, 2**64 - 1], np.uint64), 1, id="uint64 beyond int64"),
    pytest.param(np.array([1, 1e300]), 1, id="float beyond int64"),
    pytest.param([1, 10**500], 1, id="beyond any float"),
]


def refusal(column: str, values: Any) -> str:
    """Return what is said, by the check and by the step of which it is the seam."""
    given = with_column(column, values)
    with pytest.raises(PromptError) as caught:
        checked_rows(given)
    with pytest.raises(PromptError) as again:
        Segmenter("demo", backend=FakeBackend()).segment(PHOTO, given)
    said = str(caught.value)
    assert str(again.value) == said
    assert said.startswith(f"boxes: {column}")
    assert "expected " in said
    assert len(said) < 300
    return said


@pytest.mark.parametrize("column", ["confidence", "class_id", "tracker_id", "class_name", "note"])
@pytest.mark.parametrize("values", ANY_COLUMN)
def test_column_without_a_value_for_each_row_is_refused(column: str, values: Any) -> None:
    refusal(column, values)


@pytest.mark.parametrize("column", ["confidence", "class_id", "tracker_id"])
@pytest.mark.parametrize(("values", "row"), NUMBERS_ALONE)
def test_column_of_numbers_holds_numbers_alone(column: str, values: Any, row: int | None) -> None:
    said = refusal(column, values)
    assert row is None or f"{column}, row {row}: " in said


@pytest.mark.parametrize("column", ["class_id", "tracker_id"])
@pytest.mark.parametrize(("values", "row"), INTEGERS_ALONE)
def test_column_of_ids_holds_whole_numbers_of_64_bits(column: str, values: Any, row: int) -> None:
    assert f"{column}, row {row}: expected a whole number of 64 bits" in refusal(column, values)


@pytest.mark.parametrize("values", [[3, None], np.array([3, NAN])])
def test_class_is_never_missing_for_some_rows_only(values: Any) -> None:
    assert "class_id, row 1: " in refusal("class_id", values)


@pytest.mark.parametrize(
    "values",
    [
        pytest.param(None, id="None"),
        pytest.param(5, id="number"),
        pytest.param("text", id="text"),
        pytest.param(b"bytes", id="bytes"),
        pytest.param([1, 2, 3, 4], id="one box without its list"),
        pytest.param([[1, 2, 3], [4, 5, 6]], id="three edges"),
        pytest.param([[1, 2, 3, 4], [5, 6]], id="ragged"),
        pytest.param(np.zeros((2, 5)), id="five columns"),
        pytest.param(np.zeros((2, 2, 2)), id="three axes"),
        pytest.param(np.zeros((2, 4), complex), id="complex numbers"),
        pytest.param(np.zeros((2, 4), bool), id="bools"),
        pytest.param(np.full((2, 4), "1"), id="texts"),
        pytest.param(objects(None, None), id="None as rows"),
        pytest.param([[1, 2, 3, None], [1, 2, 3, 4]], id="None as an edge"),
        pytest.param(np.zeros((2, 4), "M8[s]"), id="times"),
    ],
)
def test_boxes_are_numbers(values: Any) -> None:
    refusal("xyxy", values)


@pytest.mark.parametrize(
    "values",
    [
        pytest.param(5, id="number"),
        pytest.param("text", id="text"),
        pytest.param([[True]], id="list"),
        pytest.param(np.zeros((30, 40), bool), id="one mask without its axis"),
        pytest.param(np.zeros((1, 30, 40), bool), id="too few"),
        pytest.param(np.zeros((3, 30, 40), bool), id="too many"),
        pytest.param(np.full((2, 30, 40), "a"), id="texts"),
        pytest.param(np.full((2, 30, 40), None), id="objects"),
        pytest.param(
            CompactMask.from_dense(np.ones((1, 30, 40), bool), np.array([[0, 0, 9, 9]]), (30, 40)),
            id="too few compact ones",
        ),
    ],
)
def test_masks_are_one_a_row(values: Any) -> None:
    refusal("mask", values)


@pytest.mark.parametrize("values", [None, 5, [], "text", np.zeros(2), [("class_name", ["a", "b"])]])
@pytest.mark.parametrize("column", ["data", "metadata"])
def test_data_and_metadata_are_dicts(column: str, values: Any) -> None:
    refusal(column, values)


@pytest.mark.parametrize("name", [None, 3, ("a", "b"), b"bytes"])
def test_columns_have_names(name: Any) -> None:
    given = two_boxes()
    given.data[name] = np.array([1, 2])
    with pytest.raises(PromptError, match=r"^boxes: data: expected names of columns; got "):
        checked_rows(given)


@pytest.mark.parametrize("value", [None, 1.5, True, [], {}, np.array([1])])
def test_names_of_classes_are_names(value: Any) -> None:
    assert "class_name, row 1: expected a name" in refusal("class_name", objects("cat", value))


@pytest.mark.parametrize(
    "value",
    ["x" * 10**6, b"x" * 10**6, ["x"] * 10**6, np.zeros(10**6), {"x": "y" * 10**6}, 10**4000],
    ids=["text", "bytes", "list", "array", "dict", "number"],
)
def test_values_are_shown_in_80_characters(value: Any) -> None:
    assert len(shown(value)) <= 80
    assert len(refusal("tracker_id", objects(value, 1))) < 200


def test_no_rows_need_no_columns() -> None:
    for rows in (sv.Detections.empty(), two_boxes()[:0]):
        rows.xyxy = np.zeros((0, 4))
        assert len(checked_rows(rows)) == 0
    rows.xyxy = []
    assert checked_rows(rows).xyxy.shape == (0, 4)
