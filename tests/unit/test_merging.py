"""`sv.Detections.merge` with rows of this package among the parts, and without."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import supervision as sv

from sam2_block import Segmenter
from sam2_block.backends.fake import FakeBackend
from sam2_block.rows.merging import aligned, extend_merge

PHOTO = np.zeros((40, 60, 3), dtype=np.uint8)


def boxes(*xyxy: tuple[float, ...], **columns: Any) -> sv.Detections:
    xyxy = xyxy or ((1, 2, 11, 12), (21, 2, 31, 12))
    return sv.Detections(xyxy=np.array(xyxy, dtype=np.float32), **columns)


def ours(*xyxy: tuple[float, ...], points: Any = None, **columns: Any) -> sv.Detections:
    segmenter = Segmenter("demo", backend=FakeBackend())
    return segmenter.segment(PHOTO, boxes(*xyxy, **columns), points)


def clicks() -> sv.Detections:
    return Segmenter("demo", backend=FakeBackend()).segment(PHOTO, points=[[[5, 5]], [[9, 9]]])


def of_a_model(count: int = 2, **columns: Any) -> sv.Detections:
    """Rows as `sv.Detections.from_inference` makes them of an instance segmentation model's."""
    return sv.Detections(
        xyxy=np.tile([3.0, 3, 9, 9], (count, 1)),
        mask=np.ones((count, 40, 60), dtype=bool),
        confidence=np.full(count, 0.5),
        class_id=np.zeros(count, dtype=int),
        data={"class_name": np.array(["thing"] * count)},
        **columns,
    )


TRACKED = {"tracker_id": np.array([7, 8])}
NAMED = {"class_id": np.array([0, 1]), "data": {"class_name": np.array(["cat", "dog"])}}
TIMED = {
    "data": {
        "time_in_zone": np.array([1.5, 2.5]),
        "inference_id": np.array(["a", "b"]),
        "keypoints_xy": np.ones((2, 3, 2)),
        "detection_id": np.array(["x", "y"]),
    }
}

PARTS = {
    "with a model's": lambda: [ours(**NAMED), of_a_model()],
    "behind a model's": lambda: [of_a_model(), ours(**NAMED)],
    "with a tracked model's": lambda: [ours(), of_a_model(**TRACKED)],
    "tracked, with a model's": lambda: [ours(**TRACKED), of_a_model()],
    "clicks with a model's": lambda: [clicks(), of_a_model()],
    "boxes with clicks": lambda: [ours(), clicks()],
    "tracked boxes with clicks": lambda: [ours(**TRACKED), clicks()],
    "clicks with tracked boxes": lambda: [clicks(), ours(**TRACKED)],
    "boxes with further columns, and clicks": lambda: [ours(**TIMED), clicks()],
    "boxes with and without further columns": lambda: [ours(**TIMED), ours(**NAMED)],
    "boxes and clicks in one step, with clicks": lambda: [ours(**TIMED, points=[[5, 5]]), clicks()],
    "three kinds": lambda: [ours(**TIMED), clicks(), of_a_model(**TRACKED)],
    "slices of different metadata": lambda: [
        ours(metadata={"source": "a", "camera": "north"}),
        ours(metadata={"camera": "north"}),
    ],
    "one row each": lambda: [*ours(), *of_a_model()] and [ours()[0], ours()[1], of_a_model(1)],
    "with nothing": lambda: [ours(), sv.Detections.empty(), of_a_model(0)],
    "after a filter": lambda: [ours(**TIMED)[[True, False]], of_a_model()],
}  # fmt: skip


@pytest.mark.parametrize("parts", PARTS.values(), ids=PARTS)
def test_rows_merge_with_others(parts: Any) -> None:
    parts = parts()
    before = copy.deepcopy(parts)
    merged = sv.Detections.merge(parts)
    assert type(merged) is sv.Detections
    assert len(merged) == sum(map(len, parts))
    np.testing.assert_array_equal(merged.xyxy, np.concatenate([part.xyxy for part in parts]))
    np.testing.assert_array_equal(
        merged.mask, np.concatenate([part.mask for part in parts if len(part)])
    )
    assert np.isfinite(merged.confidence).all()
    # No value is made up but what stands for none.
    scores = np.concatenate([part.data.get("sam2_score", [np.nan] * len(part)) for part in parts])
    np.testing.assert_array_equal(merged.data["sam2_score"], scores)
    assert merged.data["prompt_detection_id"].shape == (len(merged),)
    tracks = [-1 if part.tracker_id is None else part.tracker_id for part in parts]
    if any(part.tracker_id is not None for part in parts):
        expected = np.concatenate(
            [np.broadcast_to(t, len(p)) for t, p in zip(tracks, parts, strict=True)]
        )
        np.testing.assert_array_equal(merged.tracker_id, expected)
    else:
        assert merged.tracker_id is None
    for part, old in zip(parts, before, strict=True):
        np.testing.assert_equal(vars(part), vars(old))
    # What was merged merges on.
    assert len(sv.Detections.merge([merged, clicks()])) == len(merged) + 2


def test_columns_that_all_parts_have_stay() -> None:
    merged = sv.Detections.merge([ours(**TIMED), ours(**TIMED)])
    assert merged.data["time_in_zone"].tolist() == [1.5, 2.5] * 2
    assert merged.data["keypoints_xy"].shape == (4, 3, 2)
    merged = sv.Detections.merge([ours(**TIMED), clicks()])
    assert "time_in_zone" not in merged.data
    assert set(clicks().data) == set(merged.data)


def test_merge_of_others_is_supervisions() -> None:
    """Its results, its errors, and what it takes: nothing of them is ours to change."""
    one, other = of_a_model(), of_a_model(**TRACKED)
    with pytest.raises(ValueError, match="'tracker_id' fields must be None"):
        sv.Detections.merge([one, other])
    other = of_a_model()
    other.data["further"] = np.array([1, 2])
    with pytest.raises(ValueError, match="must have the same keys"):
        sv.Detections.merge([one, other])
    assert sv.Detections.merge([]) == sv.Detections.empty()
    assert len(sv.Detections.merge(part for part in (one, one))) == 4
    given = [one, sv.Detections.empty()]
    assert [a is b for a, b in zip(aligned(given), given, strict=True)] == [True, True]


@pytest.mark.parametrize("field", ["mask", "confidence", "class_id"])
def test_what_others_lack_besides_columns_is_still_said(field: str) -> None:
    other = of_a_model()
    setattr(other, field, None)
    with pytest.raises(ValueError, match=f"'{field}' fields must be None"):
        sv.Detections.merge([ours(), other])


def test_conflicting_metadata_is_still_said() -> None:
    with pytest.raises(ValueError, match="Conflicting metadata"):
        sv.Detections.merge([ours(metadata={"camera": 1}), ours(metadata={"camera": 2})])


def test_merge_is_extended_once() -> None:
    merge = sv.Detections.merge.__func__
    extend_merge()
    assert sv.Detections.merge.__func__ is merge
    assert merge.__wrapped__.__module__ == "supervision.detection.core"
    assert merge.__doc__ == merge.__wrapped__.__doc__


def test_subclasses_merge_into_their_own() -> None:
    class Mine(sv.Detections):  # type: ignore[misc]
        pass

    assert type(Mine.merge([ours(), of_a_model()])) is Mine


def test_rows_are_plain_and_travel() -> None:
    rows = ours(**TIMED)
    assert type(rows) is sv.Detections
    assert type(rows.data) is dict
    back = pickle.loads(pickle.dumps(rows))
    assert len(sv.Detections.merge([back, of_a_model()])) == 4
