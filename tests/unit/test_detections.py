from __future__ import annotations

import copy
import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import supervision as sv

from sam2_block.rows.detections import (
    POINT_CLASS_ID,
    class_names,
    prompt_rows,
    rows_of_classes,
)

Make = Callable[[], sv.Detections]
POINT_BOXES = [(1.0, 2.0, 1.0, 2.0), (5.0, 6.0, 7.5, 8.0)]


def all_rows(detections: sv.Detections, point_boxes: list) -> sv.Detections:
    return prompt_rows(detections, np.arange(len(detections)), point_boxes)


def two_boxes(**columns: Any) -> sv.Detections:
    return sv.Detections(xyxy=np.array([[1.0, 2, 3, 4], [5, 6, 7, 8]]), **columns)


def assert_equal(came: sv.Detections, expected: sv.Detections) -> None:
    """Compare every field, types and nested objects included; NaN equals NaN."""
    for name in ("xyxy", "mask", "confidence", "class_id", "tracker_id"):
        np.testing.assert_equal(getattr(came, name), getattr(expected, name), name)
    assert came.data.keys() == expected.data.keys()
    for name, column in expected.data.items():
        assert type(came.data[name]) is type(column)
        np.testing.assert_equal(came.data[name], column, name)
    assert came.metadata == expected.metadata


def test_rows_keep_who_they_are(coin_detections: Make) -> None:
    coins = coin_detections()
    rows = all_rows(coins, [])
    assert len(rows) == 4
    np.testing.assert_array_equal(rows.xyxy, coins.xyxy)
    np.testing.assert_array_equal(rows.class_id, [3, 5, 3, 7])
    np.testing.assert_array_equal(rows.tracker_id, [11, 12, 13, 14])
    np.testing.assert_array_equal(rows.confidence, coins.confidence)
    assert rows.data["prompt_detection_id"].tolist() == ["id-0", "id-1", "id-2", "id-3"]
    kept = coins.data.keys() - {"detection_id"}
    assert rows.data.keys() == kept | {"detection_id", "prompt_detection_id"}
    for name in kept:
        np.testing.assert_equal(rows.data[name], coins.data[name], name)
        assert rows.data[name].dtype == coins.data[name].dtype, name
    assert rows.metadata == {"camera": "north"}


def test_every_row_gets_an_id_of_its_own(coin_detections: Make) -> None:
    ids = [*all_rows(coin_detections(), POINT_BOXES).data["detection_id"]]
    again = [*all_rows(coin_detections(), POINT_BOXES).data["detection_id"]]
    assert len({*ids, *again}) == 12
    for detection_id in ids:
        assert str(uuid.UUID(detection_id)) == detection_id


def test_point_objects_come_after_the_boxes(coin_detections: Make) -> None:
    rows = all_rows(coin_detections(), POINT_BOXES)
    assert len(rows) == 6
    np.testing.assert_array_equal(rows.xyxy[4:], POINT_BOXES)
    np.testing.assert_array_equal(rows.xyxy[:4], coin_detections().xyxy)
    np.testing.assert_array_equal(rows.class_id[4:], [POINT_CLASS_ID] * 2)
    np.testing.assert_array_equal(rows.tracker_id[4:], [-1, -1])
    np.testing.assert_array_equal(rows.confidence[4:], [np.nan, np.nan])
    assert rows.data["class_name"][2:].tolist() == ["coin", "medal", "foreground", "foreground"]
    assert rows.data["prompt_detection_id"][3:].tolist() == ["id-3", "", ""]


@pytest.mark.parametrize(
    ("column", "fill"),
    [
        pytest.param(np.array([1.5, 2.5], dtype=np.float32), np.nan, id="float"),
        pytest.param(np.array([1, 2], dtype=np.int16), 0, id="int"),
        pytest.param(np.array([1, 2], dtype=np.uint8), 0, id="unsigned"),
        pytest.param(np.array([True, True]), False, id="bool"),
        pytest.param(np.array(["a", "bcd"]), "", id="text"),
        pytest.param(np.array([b"a", b"bcd"]), b"", id="bytes"),
        pytest.param(np.array([{}, None], dtype=object), None, id="objects"),
        # So the engine pads the names of keypoints; None would be one keypoint more.
        pytest.param(np.array(["a", "b"], dtype=object), "", id="text as objects"),
        pytest.param(np.array([1 + 2j, 3]), np.nan, id="complex"),
        pytest.param(np.ones((2, 3, 2)), np.full((3, 2), np.nan), id="keypoints"),
        pytest.param(np.ones((2, 4), dtype=int), np.zeros(4, dtype=int), id="rows of int"),
        pytest.param(np.array([1, 2], dtype="m8[s]"), np.timedelta64(0, "s"), id="durations"),
        pytest.param(
            np.array(["2024-05-01", "2024-05-02"], dtype="M8[s]"),
            np.datetime64("NaT", "s"),
            id="times",
        ),
    ],
)
def test_point_objects_have_nothing_in_further_columns(column: np.ndarray, fill: Any) -> None:
    rows = all_rows(two_boxes(data={"extra": column}), POINT_BOXES)
    extended = rows.data["extra"]
    assert extended.dtype == column.dtype
    np.testing.assert_equal(extended[:2], column)
    for cell in extended[2:]:
        np.testing.assert_equal(cell, fill)


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        pytest.param([0.5, 0.25], "f", id="numbers"),
        pytest.param(["a", "b"], "U", id="text"),
        pytest.param([[1, 2, 3], [4, 5]], "O", id="cells of different lengths"),
    ],
)
def test_column_may_be_a_list(column: list[Any], kind: str) -> None:
    extended = all_rows(two_boxes(data={"extra": column}), POINT_BOXES[:1]).data["extra"]
    assert extended.dtype.kind == kind
    assert extended[:2].tolist() == column
    assert len(extended) == 3


def test_missing_columns_are_made_up() -> None:
    rows = all_rows(two_boxes(), [])
    assert rows.class_id.tolist() == [0, 0]
    assert rows.tracker_id is None
    np.testing.assert_array_equal(rows.confidence, [np.nan, np.nan])
    ids = {*rows.data["detection_id"], *rows.data["prompt_detection_id"]}
    assert len(ids) == 4
    assert "" not in ids


def test_class_without_name_and_number_is_object() -> None:
    assert all_rows(two_boxes(), []).data["class_name"].tolist() == ["object", "object"]


def test_class_is_named_by_its_number_without_a_name() -> None:
    rows = all_rows(two_boxes(class_id=np.array([7, 12])), POINT_BOXES[:1])
    assert rows.data["class_name"].tolist() == ["7", "12", "foreground"]
    assert class_names(two_boxes(class_id=np.array([7, 12]))).tolist() == ["7", "12"]


def test_ids_that_are_numbers_become_text() -> None:
    rows = all_rows(two_boxes(data={"detection_id": np.array([1, 2])}), [])
    assert rows.data["prompt_detection_id"].tolist() == ["1", "2"]


OF_THE_OLD_MASK = {
    "area": np.array([441.0, 9]),  # COCO, as supervision reads it
    "iscrowd": np.array([0, 1]),
    "area_px": np.array([441.0, 9]),  # `mask_area_measurement` of the engine
    "area_converted": np.array([4.41, 0.09]),
    "polygon": np.zeros((2, 4, 2)),  # `dynamic_zone`, `perspective_correction`
    "rect": np.zeros((2, 4, 2)),  # `bounding_rect`
    "width": np.array([20.0, 3]),
    "height": np.array([20.0, 3]),
    "angle": np.array([90.0, 0]),
    "rle_mask": np.array([{}, {}]),
    "confidence_mask": np.zeros((2, 9, 9)),  # semantic segmentation
}


def test_measures_of_the_old_mask_stay_behind() -> None:
    kept = {
        "xyxyxyxy": np.zeros((2, 4, 2)),  # the detector's own word on the object
        "keypoints_xy": np.zeros((2, 3, 2)),
        "time_in_zone": np.zeros(2),
    }
    rows = all_rows(two_boxes(data={**OF_THE_OLD_MASK, **kept}), POINT_BOXES)
    assert kept.keys() <= rows.data.keys()
    assert not OF_THE_OLD_MASK.keys() & rows.data.keys()


def test_names_of_measures_are_the_engines() -> None:
    constants = pytest.importorskip("roboflow_workflows.execution_engine.constants")
    named = {
        value
        for name, value in vars(constants).items()
        if name.endswith("_KEY_IN_SV_DETECTIONS")
        and name.startswith(("AREA", "BOUNDING_RECT", "POLYGON", "RLE_MASK"))
    }
    assert named <= OF_THE_OLD_MASK.keys()
    assert len(named) == 8


@pytest.mark.parametrize("name", ["width", "height", "angle"])
def test_columns_that_only_share_a_name_with_a_measure_stay(name: str) -> None:
    rows = all_rows(two_boxes(data={name: np.array([1.8, 1.7])}), [])
    assert rows.data[name].tolist() == [1.8, 1.7]


def test_columns_of_the_old_mask_stay_behind() -> None:
    detections = two_boxes(
        mask=np.ones((2, 9, 9), dtype=bool),
        data={
            "polygon": np.zeros((2, 4, 2)),
            "rle_mask": np.array([{"size": [9, 9]}, {"size": [9, 9]}], dtype=object),
            "kept": np.array([1, 2]),
        },
    )
    rows = all_rows(detections, [])
    assert {"polygon", "rle_mask"}.isdisjoint(rows.data)
    assert "kept" in rows.data
    assert rows.mask is None


def test_nothing_in_nothing_out_but_typed() -> None:
    rows = all_rows(sv.Detections.empty(), [])
    assert (len(rows), rows.xyxy.shape) == (0, (0, 4))
    assert rows.confidence.dtype == np.float32
    assert np.issubdtype(rows.class_id.dtype, np.integer)
    assert {name: column.dtype.kind for name, column in rows.data.items()} == {
        "class_name": "U",
        "prompt_detection_id": "U",
        "detection_id": "U",
    }


def test_points_alone() -> None:
    rows = all_rows(sv.Detections.empty(), POINT_BOXES)
    np.testing.assert_array_equal(rows.xyxy, POINT_BOXES)
    assert rows.data["class_name"].tolist() == ["foreground", "foreground"]
    assert rows.tracker_id is None


def test_input_is_never_changed(coin_detections: Make) -> None:
    detections = coin_detections()
    before = copy.deepcopy(detections)
    rows = all_rows(detections, POINT_BOXES)
    # Nor through the result: the block writes into it.
    rows.xyxy += 1
    rows.class_id += 1
    rows.tracker_id += 1
    rows.confidence += 1
    rows.metadata["camera"] = "south"
    for name, column in rows.data.items():
        column[...] = None if name == "note" else np.zeros_like(column)
    rows.data["new"] = np.zeros(6)
    assert_equal(detections, before)


@pytest.mark.parametrize(
    ("wanted", "kept"),
    [
        (None, [0, 1, 2, 3]),
        pytest.param([], [0, 1, 2, 3], id="an empty list is no filter"),
        (["coin"], [0, 2]),
        (("medal", "coin"), [0, 2, 3]),
        (["Coin"], []),
        (["nothing"], []),
    ],
)
def test_filter_keeps_the_named_classes(coin_detections: Make, wanted: Any, kept: list) -> None:
    detections = coin_detections()
    before = copy.deepcopy(detections)
    indices = rows_of_classes(detections, wanted)
    assert indices.tolist() == kept
    rows = prompt_rows(detections, indices, [])
    assert rows.data["prompt_detection_id"].tolist() == [f"id-{index}" for index in kept]
    np.testing.assert_array_equal(rows.xyxy, before.xyxy[kept])
    np.testing.assert_array_equal(rows.tracker_id, before.tracker_id[kept])
    assert_equal(detections, before)


def test_filter_by_the_number_that_stands_for_a_name() -> None:
    detections = two_boxes(class_id=np.array([7, 12]))
    assert rows_of_classes(detections, ["12"]).tolist() == [1]


def test_filter_of_no_detections() -> None:
    assert len(rows_of_classes(sv.Detections.empty(), ["coin"])) == 0


def test_masks_are_not_copied_on_the_way_through_the_filter() -> None:
    class Untouchable(np.ndarray):
        def __getitem__(self, key: Any) -> Any:
            raise AssertionError("a mask was looked at")

    detections = two_boxes(data={"class_name": np.array(["a", "b"])})
    detections.mask = np.zeros((2, 8, 8), dtype=np.bool_).view(Untouchable)
    rows = prompt_rows(detections, rows_of_classes(detections, ["b"]), [])
    assert rows.mask is None


@pytest.mark.parametrize("kind", [np.uint8, np.uint64, np.int32, np.float64])
def test_untracked_is_minus_one_whatever_the_type_of_the_tracks(kind: Any) -> None:
    detections = two_boxes()
    detections.tracker_id = np.array([3, 4], dtype=kind)
    assert all_rows(detections, POINT_BOXES[:1]).tracker_id.tolist() == [3, 4, -1]


@pytest.mark.parametrize("name", ["scaling_relative_to_parent", "scaling_relative_to_root_parent"])
def test_scaling_of_the_image_is_a_number_for_point_objects_too(name: str) -> None:
    rows = all_rows(two_boxes(data={name: np.array([1.0, 1.0])}), POINT_BOXES[:1])
    assert rows.data[name].tolist() == [1.0, 1.0, 1.0]
