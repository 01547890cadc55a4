"""Native predictions that a block fills in wrongly: read, or refused with one error."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from inference_models.models.base.object_detection import Detections
from inference_models.models.base.types import InstancesRLEMasks
from roboflow_workflows.errors import RuntimeInputError

from sam2_block.backends.fake import FakeBackend
from sam2_block.masks import coco_rle
from tests.engine.workflows import batch_input, mask_of, run, scene, segment, workflow
from tests.tensor.native import column, detections, masks, with_masks

A, B = (10, 8, 30, 20), (40, 25, 60, 44)
IMAGE = scene(60, 80)
NAN, INF = float("nan"), float("inf")


def segment_given(**fields: Any) -> dict[str, Any]:
    return workflow(segment(boxes="$inputs.boxes", **fields), inputs=[batch_input("boxes", "*")])


def changed(**fields: Any) -> Detections:
    boxes = detections(A, B)
    for name, value in fields.items():
        setattr(boxes, name, value)
    return boxes


def tracked(*tracks: Any) -> Detections:
    return changed(bboxes_metadata=[{"tracker_id": track} for track in tracks])


def of_image(**metadata: Any) -> Detections:
    return changed(image_metadata={"class_names": {3: "coin"}, **metadata})


REFUSED = {
    "tracks are text": (tracked("a", "b"), "tracker_id, row 0: expected a whole number"),
    "track is beyond int64": (tracked(1, 2**64), "tracker_id, row 1: expected a whole number"),
    "track is a list": (tracked(1, [2]), "tracker_id, row 1: expected a whole number"),
    "track is a fraction": (tracked(1, 2.5), "tracker_id, row 1: expected a whole number"),
    "entry is text": (changed(bboxes_metadata=["a", {}]), "bboxes_metadata, row 0: expected"),
    "entries are text": (changed(bboxes_metadata="ab"), "bboxes_metadata: expected a list"),
    "entries are too few": (changed(bboxes_metadata=[{}]), "2 boxes with 1 entries of bboxes_meta"),
    "metadata is a list": (changed(image_metadata=[1]), "image_metadata: expected a dict or None"),
    "names are a list": (of_image(class_names=["a"]), "class_names: expected a dict or None"),
    "xyxy is no tensor": (changed(xyxy=np.zeros((2, 4))), "xyxy: expected a tensor; got ndarray"),
    "xyxy is a box": (changed(xyxy=torch.zeros(4)), "xyxy: expected numbers of shape (N, 4)"),
    "xyxy is a number": (changed(xyxy=torch.tensor(4)), "xyxy: expected numbers of shape (N, 4)"),
    "xyxy has five edges": (changed(xyxy=torch.zeros(2, 5)), "xyxy: expected numbers of shape"),
    "xyxy is complex": (changed(xyxy=torch.zeros(2, 4, dtype=torch.complex64)), "xyxy, row 0"),
    "class_id is too short": (changed(class_id=torch.zeros(1).long()), "class_id: expected 2"),
    "class_id is too long": (changed(class_id=torch.zeros(3).long()), "class_id: expected 2"),
    "class_id is a fraction": (changed(class_id=torch.tensor([0.5, 1])), "class_id, row 0: expec"),
    "class_id is None": (changed(class_id=None), "class_id: expected a tensor; got None"),
    "confidence is too short": (changed(confidence=torch.zeros(1)), "confidence: expected 2"),
    "size is a number": (of_image(image_dimensions=5), "image_dimensions, row 0: expected two"),
    "size is text": (of_image(image_dimensions="ab"), "image_dimensions, row 0: expected two"),
    "origin is text": (of_image(root_parent_coordinates=["x", "y"]), "root_parent_coordinates, "),
}  # fmt: skip


@pytest.mark.parametrize(("boxes", "says"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_read_is_named(boxes: Any, says: str, fake_backend: FakeBackend) -> None:
    with pytest.raises(RuntimeInputError) as caught:
        run(segment_given(), fake_backend, [IMAGE] * 2, boxes=[detections(A), boxes])
    assert str(caught.value).startswith(f"image 1: boxes: {says}")
    assert len(str(caught.value)) < 300


READ = {
    "no tracks": (tracked(None, None), [None, None]),
    "some tracks": (tracked(None, 3), [-1, 3]),
    "tracks of NaN": (tracked(NAN, 3), [-1, 3]),
    "tracks as floats": (tracked(4.0, np.float32(3)), [4, 3]),
    "tracks as tensors' items": (tracked(np.int64(4), 3), [4, 3]),
    "class_id as floats": (changed(class_id=torch.tensor([3.0, 5.0])), None),
    "class_id as a column": (changed(class_id=torch.tensor([[3], [5]])), None),
    "confidence of NaN": (changed(confidence=torch.tensor([NAN, INF])), None),
    "half precision": (changed(xyxy=torch.tensor([A, B]).to(torch.bfloat16)), None),
    "boxes of whole numbers": (changed(xyxy=torch.tensor([A, B])), None),
    "no size": (of_image(image_dimensions=[None, None]), None),
}


@pytest.mark.parametrize(("boxes", "tracks"), READ.values(), ids=READ)
@pytest.mark.parametrize("source", ["sam", "detector"])
def test_what_can_be_read_is(
    boxes: Any, tracks: Any, source: str, fake_backend: FakeBackend
) -> None:
    definition = segment_given(confidence_source=source)
    (result,) = run(definition, fake_backend, IMAGE, boxes=[boxes])
    rows = result["predictions"]
    assert len(rows) == 2
    assert torch.isfinite(rows.confidence).all()
    if tracks is not None:
        assert column(rows, "tracker_id") == tracks
    (answer,) = run(definition, fake_backend, IMAGE, boxes=[boxes], serialize=True)
    json.dumps(answer, allow_nan=False)


BAD = [(NAN,) * 4, (1, 1, INF, 5), (-INF, 1, 5, 5), (9, 9, 1, 1), (90, 1, 95, 5)]


@pytest.mark.parametrize("invalid_boxes", ["empty", "drop"])
def test_invalid_boxes_never_stop_a_batch(invalid_boxes: str, fake_backend: FakeBackend) -> None:
    given = [detections(A, box, B) for box in BAD]
    definition = segment_given(invalid_boxes=invalid_boxes)
    for result in run(definition, fake_backend, [IMAGE] * len(BAD), boxes=given):
        rows = result["predictions"]
        kept = ["id-0", "id-1", "id-2"] if invalid_boxes == "empty" else ["id-0", "id-2"]
        assert column(rows, "prompt_detection_id") == kept
        assert (rows.xyxy >= 0).all()
        assert (rows.xyxy <= torch.tensor([80, 60, 80, 60])).all()


def test_numbers_that_are_not_finite_are_null(fake_backend: FakeBackend) -> None:
    boxes = changed(
        bboxes_metadata=[
            {"time_in_zone": NAN, "speed": INF, "velocity": [NAN, 1.0], "area_px": NAN},
            {"data": {"a": [-INF]}},
        ]
    )
    (answer,) = run(
        segment_given(points=[[5, 5]]), fake_backend, IMAGE, boxes=[boxes], serialize=True
    )
    text = json.dumps(answer, allow_nan=False)
    rows = json.loads(text)["predictions"]["predictions"]
    assert "area_px" not in rows[0]
    assert rows[0].get("time_in_zone") is None


SMALL = {"square": (10, 8, 15, 13), "line": (3, 4, 20, 5), "one pixel": (7, 9, 8, 10)}


@pytest.mark.parametrize("form", ["dense", "rle"])
@pytest.mark.parametrize("box", SMALL.values(), ids=SMALL)
def test_masks_are_prompts_to_their_last_pixel(
    box: tuple[int, int, int, int], form: str, fake_backend: FakeBackend
) -> None:
    pixels = mask_of(60, 80, box)
    carrier = (
        torch.from_numpy(pixels)[None]
        if form == "dense"
        else InstancesRLEMasks((60, 80), [coco_rle(pixels)["counts"].encode()])
    )
    left, top, right, bottom = box
    given = with_masks(detections((left, top, right - 1, bottom - 1)), carrier)
    for _ in range(3):
        (result,) = run(segment_given(), fake_backend, IMAGE, boxes=[given])
        given = result["predictions"]
        np.testing.assert_array_equal(masks(given), [pixels])
        assert given.xyxy.tolist() == [[left, top, right - 1, bottom - 1]]


def test_clicks_have_an_id_that_no_class_of_the_model_has(fake_backend: FakeBackend) -> None:
    ids = set()
    for number in (0, 1, 2**23):
        boxes = changed(image_metadata={"class_names": {number: "a", number + 1: "foreground"}})
        boxes.class_id = torch.tensor([number, number])
        (result,) = run(segment_given(points=[[5, 5]]), fake_backend, IMAGE, boxes=[boxes])
        rows = result["predictions"]
        ids.add(int(rows.class_id[2]))
        assert rows.image_metadata["class_names"][int(rows.class_id[2])] == "foreground"
        assert int(rows.class_id[2]) not in (number, number + 1)
    assert len(ids) == 1
