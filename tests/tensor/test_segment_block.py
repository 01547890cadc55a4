"""Native predictions in, native instances out."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
import supervision as sv
import torch
from inference_models.models.base.instance_segmentation import InstanceDetections
from inference_models.models.base.types import InstancesRLEMasks
from roboflow_workflows.errors import RuntimeInputError

from sam2_block.backends.fake import FakeBackend
from sam2_block.rows.detections import POINT_CLASS_ID
from tests.engine.workflows import (
    DETECTED,
    batch_input,
    detect,
    mask_of,
    run,
    scene,
    segment,
    workflow,
)
from tests.tensor.native import column, detections, masks, with_keypoints, with_masks

A, B, C = (10, 8, 30, 20), (40, 25, 60, 44), (5, 30, 20, 50)
IMAGE = scene(60, 80, A, B)
ANY = batch_input("boxes", "*")  # as it is given, whatever it is


def segment_given(**fields: Any) -> dict[str, Any]:
    return workflow(segment(boxes="$inputs.boxes", **fields), inputs=[ANY])


def test_rows_are_native_and_complete(fake_backend: FakeBackend) -> None:
    definition = workflow(detect(), segment(boxes=DETECTED))
    (result,) = run(definition, fake_backend, IMAGE)
    rows = result["predictions"]
    assert isinstance(rows, InstanceDetections)
    np.testing.assert_array_equal(masks(rows), [mask_of(60, 80, A), mask_of(60, 80, B)])
    np.testing.assert_array_equal(rows.xyxy, sv.mask_to_xyxy(masks(rows)))
    assert (rows.xyxy.dtype, rows.class_id.dtype) == (torch.float32, torch.int64)
    assert rows.class_id.tolist() == [0, 1]
    assert rows.confidence.tolist() == column(rows, "sam2_score") == result["scores"]
    assert column(rows, "prompt_detection_id") == ["id-0", "id-1"]
    assert len({*column(rows, "detection_id"), "id-0", "id-1"}) == 4
    assert rows.image_metadata == {
        "class_names": {0: "blob 0", 1: "blob 1"},
        "prediction_type": "instance-segmentation",
        "image_dimensions": [60, 80],
        "parent_id": "image",
        "parent_coordinates": [0, 0],
        "parent_dimensions": [60, 80],
        "root_parent_id": "image",
        "root_parent_coordinates": [0, 0],
        "root_parent_dimensions": [60, 80],
    }


def test_rows_keep_what_belongs_to_them(fake_backend: FakeBackend) -> None:
    note = {"mint": "Athens"}
    entries: list[dict[str, Any]] = [
        {"detection_id": "a", "tracker_id": 7, "note": note, "time_in_zone": 1.5},
        {"detection_id": "b", "tracker_id": 8, "polygon": [[0, 0], [1, 0], [1, 1]], "rle_mask": {}},
        {"detection_id": "c", "tracker_id": 9, "class": "worn coin", "_host_xyxy": [1, 2, 3, 4]},
    ]
    boxes = detections(A, B, C, class_id=[5, 3, 3], entries=entries)
    boxes.image_metadata["serialise_polygons"] = False
    before = repr(boxes)
    (result,) = run(segment_given(), fake_backend, IMAGE, boxes=[boxes])
    rows = result["predictions"]
    assert column(rows, "prompt_detection_id") == ["a", "b", "c"]
    assert column(rows, "tracker_id") == [7, 8, 9]
    assert column(rows, "note") == [note, None, None]
    assert column(rows, "time_in_zone") == [1.5, None, None]
    assert column(rows, "class") == [None, None, "worn coin"]
    assert rows.class_id.tolist() == [5, 3, 3]
    assert rows.image_metadata["class_names"] == {0: "person", 3: "coin", 5: "token"}
    assert rows.image_metadata["inference_id"] == "inference"
    # What describes the box and the mask that came in is not said of the new ones.
    assert not {"polygon", "rle_mask"} & set(rows.bboxes_metadata[1])
    assert column(rows, "_host_xyxy") == rows.xyxy.tolist()
    assert "serialise_polygons" not in rows.image_metadata
    assert repr(boxes) == before


def test_rows_of_which_only_some_are_tracked(fake_backend: FakeBackend) -> None:
    boxes = detections(A, B, entries=[{"detection_id": "a", "tracker_id": 7}, {}])
    (result,) = run(segment_given(), fake_backend, IMAGE, boxes=[boxes])
    assert column(result["predictions"], "tracker_id") == [7, -1]


def test_boxes_and_points(fake_backend: FakeBackend) -> None:
    boxes = detections(A, class_id=[0], entries=[{"detection_id": "a", "tracker_id": 7}])
    definition = segment_given(points=[[50, 40]], confidence_source="detector")
    (result,) = run(definition, fake_backend, IMAGE, boxes=[boxes])
    rows = result["predictions"]
    # Blocks read classes by their id alone, and class 0 is the detector's.
    assert rows.class_id.tolist() == [0, POINT_CLASS_ID]
    names = {0: "person", 3: "coin", 5: "token", POINT_CLASS_ID: "foreground"}
    assert rows.image_metadata["class_names"] == names
    assert column(rows, "class") == [None, None]
    assert column(rows, "tracker_id") == [7, -1]
    assert column(rows, "prompt_detection_id") == ["a", ""]
    assert rows.confidence.tolist() == pytest.approx([0.5, 0.9])


def test_points_alone(fake_backend: FakeBackend) -> None:
    (result,) = run(workflow(segment(points=[[50, 40]])), fake_backend, IMAGE)
    rows = result["predictions"]
    assert rows.image_metadata["class_names"] == {POINT_CLASS_ID: "foreground"}
    assert set(rows.bboxes_metadata[0]).isdisjoint({"class", "tracker_id"})


def test_batch_of_images_one_without_detections(fake_backend: FakeBackend) -> None:
    images = [IMAGE, scene(30, 20), scene(100, 50, C)]
    boxes = [detections(A, B), detections(), detections(C)]
    results = run(segment_given(), fake_backend, images, boxes=boxes)
    assert [masks(result["predictions"]).shape for result in results] == [
        (2, 60, 80),
        (0, 30, 20),
        (1, 100, 50),
    ]
    assert [len(prompts) for prompts in fake_backend.calls] == [2, 1]
    empty = results[1]["predictions"]
    assert (empty.xyxy.shape, empty.bboxes_metadata) == ((0, 4), None)
    assert empty.image_metadata["image_dimensions"] == [30, 20]


def test_class_filter_and_threshold(fake_backend: FakeBackend) -> None:
    boxes = detections(A, B, C, class_id=[3, 5, 3])
    (result,) = run(segment_given(class_filter=["coin"]), fake_backend, IMAGE, boxes=[boxes])
    assert column(result["predictions"], "prompt_detection_id") == ["id-0", "id-2"]
    boxes.bboxes_metadata[1]["class"] = "worn coin"
    definition = segment_given(class_filter=["worn coin"])
    (result,) = run(definition, fake_backend, IMAGE, boxes=[boxes])
    assert column(result["predictions"], "prompt_detection_id") == ["id-1"]
    (result,) = run(segment_given(threshold=1.0), fake_backend, IMAGE, boxes=[boxes])
    assert len(result["predictions"]) == 0


@pytest.mark.parametrize("mask", ["dense", "rle"])
def test_of_masks_only_the_last_pixels_are_looked_at(mask: str, fake_backend: FakeBackend) -> None:
    carrier = torch.ones((1, 60, 80), dtype=torch.bool)
    given = with_masks(
        detections(A), carrier if mask == "dense" else InstancesRLEMasks((60, 80), [b"no RLE"])
    )
    (result,) = run(segment_given(), fake_backend, IMAGE, boxes=[given])
    box = (A[0], A[1], A[2] + 1, A[3] + 1) if mask == "dense" else A
    np.testing.assert_array_equal(masks(result["predictions"]), [mask_of(60, 80, box)])


def test_keypoints_give_their_boxes_and_go_along(fake_backend: FakeBackend) -> None:
    people = with_keypoints(detections(A, B, class_id=[0, 0]))
    definition = segment_given(points=[[3, 4]])
    (result,) = run(definition, fake_backend, IMAGE, boxes=[people], serialize=True)
    rows = result["predictions"]["predictions"]
    nose = {"class_id": 0, "class": "nose", "confidence": 0.75}
    assert [row.get("keypoints") for row in rows] == [
        [{**nose, "x": A[0] + 1.0, "y": A[1] + 1.0}],
        [{**nose, "x": B[0] + 1.0, "y": B[1] + 1.0}],
        None,
    ]
    assert [row["class"] for row in rows] == ["person", "person", "foreground"]


@pytest.mark.parametrize("entries", [None, [None, {}]])
def test_boxes_without_metadata(entries: Any, fake_backend: FakeBackend) -> None:
    boxes = detections(A, B, entries=entries)
    boxes.image_metadata, boxes.bboxes_metadata = None, entries
    boxes.xyxy = boxes.xyxy.half().requires_grad_()
    boxes.class_id, boxes.confidence = boxes.class_id.int(), boxes.confidence.half()
    (result,) = run(segment_given(), fake_backend, IMAGE, boxes=[boxes])
    assert result["predictions"].image_metadata["class_names"] == {3: "3"}
    assert len(set(column(result["predictions"], "prompt_detection_id"))) == 2


@pytest.mark.parametrize(
    ("boxes", "said"),
    [
        (sv.Detections(xyxy=np.array([A], float)), "inference_models, .*; got Detections"),
        ((with_keypoints(detections(A))[0], None), "got keypoints alone"),
        (with_keypoints(detections(A))[0], "got KeyPoints"),
        (detections(A, entries=[{}, {}]), "1 boxes with 2 entries of bboxes_metadata"),
        ("boxes", "got str"),
    ],
    ids=["sv", "no boxes", "keypoints alone", "entries", "text"],
)
def test_other_boxes_are_the_callers_error(
    boxes: Any, said: str, fake_backend: FakeBackend
) -> None:
    with pytest.raises(RuntimeInputError, match=rf"^image 0: box.*: .*{said}"):
        run(segment_given(), fake_backend, IMAGE, boxes=[boxes])
    assert fake_backend.calls == []


def test_image_of_which_the_boxes_are_none_is_skipped_by_the_engine(
    fake_backend: FakeBackend,
) -> None:
    first, second = run(segment_given(), fake_backend, [IMAGE] * 2, boxes=[None, detections(A)])
    assert first == {"predictions": None, "scores": None}
    assert len(second["predictions"]) == 1


@pytest.mark.usefixtures("no_dense_masks")
@pytest.mark.parametrize("form", ["auto", "dense", "compact"])
def test_masks_of_many_objects_never_stand_at_the_size_of_the_image(
    form: str, fake_backend: FakeBackend
) -> None:
    boxes = detections(*[(index * 20, 10, index * 20 + 30, 40) for index in range(60)])
    image = scene(2000, 2000)
    definition = workflow(
        segment(boxes="$inputs.boxes"),
        inputs=[ANY],
        outputs={form: "$steps.sam.predictions"},  # else the engine takes the first one's settings
    )
    tracemalloc.start()
    (result,) = run(definition, fake_backend, image, boxes=[boxes], settings={"masks": form})
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(result[form].mask, InstancesRLEMasks)
    assert len(result[form]) == 60
    assert peak < 10 * image.nbytes < 60 * 2000 * 2000
