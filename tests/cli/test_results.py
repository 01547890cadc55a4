"""Outputs of Python blocks, which may be anything, as files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import supervision as sv
from roboflow_workflows.execution_engine.entities.base import (
    ImageParentMetadata,
    WorkflowImageData,
)

from sam2_block.cli.results import ResultWriter
from sam2_block.errors import InputError

Pixels = np.ndarray[Any, Any]
BYTES = np.arange(0, 240, 5, dtype=np.uint8).reshape(4, 4, 3)


def image(pixels: Pixels) -> WorkflowImageData:
    return WorkflowImageData(ImageParentMetadata(parent_id="image"), numpy_image=pixels)


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        (BYTES, BYTES),
        (BYTES[:, ::-1], BYTES[:, ::-1]),
        (BYTES.astype(np.uint16) * 257, BYTES.astype(np.uint16) * 257),
        (BYTES.astype(np.float32), BYTES),
        # Without scaling, these are black.
        (BYTES / 255, BYTES),
        ((BYTES / 255).astype(np.float32), BYTES),
        (BYTES[..., 0] > 99, (BYTES[..., 0] > 99) * 255),
        (np.zeros((2, 2), bool), np.zeros((2, 2))),
        (np.ones((2, 2, 3)), np.full((2, 2, 3), 255)),
    ],
)
def test_pixels_of_any_type(pixels: Pixels, expected: Pixels, tmp_path: Path) -> None:
    png, _ = ResultWriter(tmp_path).write(Path("a.png"), {"drawn": image(pixels)})
    np.testing.assert_array_equal(cv2.imread(str(png), cv2.IMREAD_UNCHANGED), expected)


@pytest.mark.parametrize("shape", [(0, 5, 3), (4, 4, 2)])
def test_pixels_that_no_png_holds(shape: tuple[int, ...], tmp_path: Path) -> None:
    outputs = {"crops": [{"drawn": image(np.zeros(shape, np.uint8))}]}
    with pytest.raises(InputError, match=r"^output 'crops\.0\.drawn': expected an image with 1, 3"):
        ResultWriter(tmp_path).write(Path("a.png"), outputs)


def test_detections_that_the_engine_cannot_write(tmp_path: Path) -> None:
    """As a Python block makes them: without confidence and the columns of the engine."""
    boxes = sv.Detections(xyxy=np.array([[0.0, 0.0, 5.0, 5.0]]))
    with pytest.raises(InputError, match=r"^output 'boxes': expected detections with confidence"):
        ResultWriter(tmp_path).write(Path("a.png"), {"boxes": boxes})
