"""The masks that `sam2-block run` writes into JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import supervision as sv
from pycocotools import mask as coco_mask

from sam2_block import Segmenter
from sam2_block.backends.fake import FakeBackend
from sam2_block.cli import main
from sam2_block.cli.results import ResultWriter
from tests.cli.conftest import segment, workflow

Write = Callable[..., str]

CROP = {
    "type": "roboflow_core/absolute_static_crop@v1",
    "name": "crop",
    "images": "$inputs.image",
    "x_center": 50,
    "y_center": 30,
    "width": 40,
    "height": 30,
}


def predictions_of(folder: Path) -> Any:
    return json.loads((folder / "photo.json").read_text())["outputs"]["predictions"]


def mask_of(row: dict[str, Any]) -> np.ndarray[Any, Any]:
    return np.asarray(coco_mask.decode(row["rle_mask"]), bool)


def test_a_crop_loses_nothing(workflow_file: Write, image_file: Write, tmp_path: Path) -> None:
    """One mask lies on the crop from (30, 15) on, the other is empty; both stay as they are."""
    definition = workflow(CROP, segment(images="$steps.crop.crops", points="$inputs.points"))
    definition["inputs"].append({"type": "WorkflowParameter", "name": "points"})
    points = [[20, 10]], [{"x": 5, "y": 5, "positive": False}]
    arguments = ["run", workflow_file(definition), "--image", image_file(width=80, height=60)]
    arguments += ["--output", str(tmp_path), "--param", f"points={json.dumps(points)}"]
    assert main(arguments) == 0

    predictions = predictions_of(tmp_path)
    assert predictions["image"] == {"width": 80, "height": 60}
    first, second = predictions["predictions"]
    mask = mask_of(first)
    assert mask.shape == (60, 80)
    assert mask[20:31, 45:56].all()
    assert mask.sum() == 121
    assert not mask_of(second).any()
    assert first["sam2_score"] == pytest.approx(0.9)
    assert first["prompt_detection_id"] == ""  # a point is no detection


def test_masks_that_a_block_has_changed(tmp_path: Path) -> None:
    """As `mask_edge_snap` and others change them: new masks beside the old column `rle_mask`."""
    rows = Segmenter(backend=FakeBackend()).segment(
        np.zeros((40, 40, 3), np.uint8), points=[[20, 10]]
    )
    changed = np.zeros((1, 40, 40), bool)
    changed[0, 2:5, 3:9] = True
    rows.data["rle_mask"] = np.array([{"size": [40, 40], "counts": "0"}], dtype=object)
    rows.mask = changed
    ResultWriter(tmp_path).write(Path("photo.png"), {"predictions": rows})
    (row,) = predictions_of(tmp_path)["predictions"]
    np.testing.assert_array_equal(mask_of(row), changed[0])


def test_masks_of_other_models_are_written_as_the_engine_does(tmp_path: Path) -> None:
    rle = coco_mask.encode(np.asfortranarray(np.eye(8, dtype=np.uint8)))
    rows = sv.Detections(
        xyxy=np.array([[0.0, 0.0, 8.0, 8.0]]),
        confidence=np.array([0.5]),
        class_id=np.array([1]),
        data={
            "class_name": np.array(["line"]),
            "detection_id": np.array(["a"]),
            "image_dimensions": np.array([[8, 8]]),
            "rle_mask": np.array([rle], dtype=object),
        },
    )
    ResultWriter(tmp_path).write(Path("photo.png"), {"predictions": rows})
    (row,) = predictions_of(tmp_path)["predictions"]
    np.testing.assert_array_equal(mask_of(row), np.eye(8, dtype=bool))
    assert "sam2_score" not in row


def test_no_number_is_written_that_is_not_finite(tmp_path: Path) -> None:
    nan, inf = float("nan"), float("inf")
    rows = Segmenter(backend=FakeBackend()).segment(
        np.zeros((40, 40, 3), np.uint8), points=[[20, 10], [5, 5]]
    )
    rows.data |= {
        "time_in_zone": np.array([nan]),
        "velocity": np.array([[inf, nan]]),
        "data": np.array([{"a": [np.float32(nan)]}], dtype=object),
    }
    # As a merge with the rows of others leaves it.
    rows.data["sam2_score"] = np.array([nan], dtype=np.float32)
    other = sv.Detections(
        xyxy=np.array([[0.0, 0, 8, 8]]),
        confidence=np.array([nan]),
        class_id=np.array([1]),
        data={"class_name": np.array(["a"]), "detection_id": np.array(["b"])},
    )
    outputs = {
        "predictions": rows,
        "other": other,
        "nested": {"numbers": [nan, (np.float64(inf), {"a": -inf})], "array": np.array([nan, 1])},
    }
    (path,) = ResultWriter(tmp_path).write(Path("photo.png"), outputs)
    assert not {"NaN", "Infinity"} & set(re.findall(r"NaN|Infinity", path.read_text()))
    written = json.loads(path.read_text())["outputs"]
    (row,) = written["predictions"]["predictions"]
    assert (row["sam2_score"], row["velocity"], row["data"]) == (None, [None, None], {"a": [None]})
    assert written["other"]["predictions"][0]["confidence"] is None
    assert written["nested"] == {"numbers": [None, [None, {"a": None}]], "array": [None, 1.0]}
