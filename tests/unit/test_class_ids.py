from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import supervision as sv

from sam2_block import Segmenter
from sam2_block.backends.fake import FakeBackend
from sam2_block.rows.class_ids import class_id_of_name, class_ids_of_names
from sam2_block.rows.detections import POINT_CLASS_ID

PHOTO = np.zeros((100, 200, 3), dtype=np.uint8)
BOXES = np.array([[10.0, 10, 40, 40], [60, 30, 90, 80], [100, 10, 150, 60]])


def segment(points: list | None = None, **columns: object) -> sv.Detections:
    boxes = sv.Detections(xyxy=BOXES.copy(), **columns)
    return Segmenter("demo", backend=FakeBackend()).segment(PHOTO, boxes, points)


def test_one_id_a_name_in_every_process() -> None:
    names = ["cat", "dog", "", "Käse", "猫", "\udcff", "x" * 10_000, "foreground"]
    ids = [class_id_of_name(name) for name in names]
    assert len(set(ids)) == len(names)
    # Beyond the classes of any detector, and exact in float32.
    assert all(2**23 <= number < 2**24 == int(np.float32(2**24)) for number in ids)
    assert [int(np.float32(number)) for number in ids] == ids
    code = (
        "from sam2_block.rows.class_ids import class_id_of_name as of; print(of('cat'), of('dog'))"
    )
    root = Path(__file__).parents[2]
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert run.stdout.split() == [str(number) for number in ids[:2]]


def test_ids_are_those_that_earlier_data_has() -> None:
    assert class_id_of_name("cat") == 11499403
    assert class_id_of_name("foreground") == POINT_CLASS_ID == 9770297


def test_names_whose_ids_collide_get_ids_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sam2_block.rows.class_ids._RANGE", 3)
    ids = class_ids_of_names(["b", "c", "a", "b"])
    assert ids[0] == ids[3]
    assert sorted({*ids}) == [3, 4, 5]
    assert class_ids_of_names(["a", "b", "c"]) == [ids[2], ids[0], ids[1]]


def test_detector_by_names_gets_one_id_a_name() -> None:
    first = segment(data={"class_name": np.array(["cat", "dog", "cat"])})
    assert first.class_id.tolist() == class_ids_of_names(["cat", "dog", "cat"])
    # In another image, in another order, beside other classes.
    second = segment(data={"class_name": ["bird", "dog", "cat"]})
    assert second.class_id[1:].tolist() == [first.class_id[1], first.class_id[0]]


def test_ids_of_a_detector_stay() -> None:
    rows = segment(class_id=np.array([0, 7, 0]), data={"class_name": np.array(["a", "b", "a"])})
    assert rows.class_id.tolist() == [0, 7, 0]


def test_boxes_with_neither_names_nor_ids_are_of_class_0() -> None:
    assert segment().class_id.tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    "columns",
    [
        {},
        {"class_id": np.array([0, 1, 2])},
        {"class_id": np.array([POINT_CLASS_ID, POINT_CLASS_ID + 1, 5])},
        {"class_id": np.array([2**62, -1, 2**24 - 1])},
        {"data": {"class_name": np.array(["cat", "dog", "cat"])}},
    ],
)
def test_objects_of_points_have_an_id_that_no_other_class_has(columns: dict) -> None:
    rows = segment([[[5, 5]], [[9, 9]]], **columns)
    of_points = set(rows.class_id[3:].tolist())
    assert len(of_points) == 1
    assert not of_points & set(rows.class_id[:3].tolist())
    if POINT_CLASS_ID not in columns.get("class_id", ()):
        assert of_points == {POINT_CLASS_ID}


def test_class_that_is_named_foreground_by_words_is_that_of_points() -> None:
    rows = segment([[5, 5]], data={"class_name": np.array(["cat", "foreground", "cat"])})
    assert rows.class_id[1] == rows.class_id[3] == POINT_CLASS_ID


def test_exporters_refuse_ids_that_are_no_index_of_a_class(tmp_path: Path) -> None:
    """Where 0 would have been written, and a dog been labelled as a cat."""
    rows = segment(data={"class_name": np.array(["cat", "dog", "cat"])})
    photo = str(tmp_path / "a.png")
    with pytest.raises(ValueError, match="class_id 11499403, outside the valid range"):
        sv.DetectionDataset(["cat", "dog"], [photo], {photo: rows})
