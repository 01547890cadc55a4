"""Workflow files and images on disk, and a fake model under every workflow of these tests."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import sam2_block
from sam2_block.backends.fake import FakeBackend

IMAGE_INPUT = {"type": "WorkflowImage", "name": "image"}


def segment(**fields: Any) -> dict[str, Any]:
    """A step `sam`; by default one point, which `FakeBackend` answers with 11 x 11 pixels."""
    return {
        "type": "sam2_block/segment@v1",
        "name": "sam",
        "images": "$inputs.image",
        "points": [[20, 10]],
        **fields,
    }


def output(name: str, selector: str) -> dict[str, str]:
    return {"type": "JsonField", "name": name, "selector": selector}


PREDICTIONS = output("predictions", "$steps.sam.predictions")


def workflow(*steps: Any, outputs: Any = (PREDICTIONS,), inputs: Any = ()) -> dict[str, Any]:
    return {
        "version": "1.0",
        "inputs": [IMAGE_INPUT, *inputs],
        "steps": list(steps),
        "outputs": list(outputs),
    }


@pytest.fixture(autouse=True)
def fake_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every definition of these tests is compiled with this backend, none with another.

    The engine caches the initializers with the definition, so that a definition which other tests
    compile too would keep theirs.
    """
    backend = FakeBackend()
    monkeypatch.setitem(sam2_block.REGISTERED_INITIALIZERS, "backend", lambda: backend)


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """Take back what the command sets for the engine: it is made to own its process."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def workflow_file(tmp_path: Path) -> Callable[[Any], str]:
    def write(definition: Any) -> str:
        path = tmp_path / "workflow.json"
        path.write_text(json.dumps(definition))
        return str(path)

    return write


@pytest.fixture
def image_file(tmp_path: Path) -> Callable[..., str]:
    """Write an image `width` x `height` of random pixels, and return its path."""

    def write(name: str = "photo.png", width: int = 80, height: int = 60) -> str:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
        assert cv2.imwrite(str(path), pixels)
        return str(path)

    return write


MASK_VISUALIZATION = {
    "type": "roboflow_core/mask_visualization@v1",
    "name": "masks",
    "image": "$inputs.image",
    "predictions": "$steps.sam.predictions",
}
WITH_IMAGE = workflow(
    segment(),
    MASK_VISUALIZATION,
    outputs=[
        PREDICTIONS,
        output("scores", "$steps.sam.scores"),
        output("annotated", "$steps.masks.image"),
    ],
)


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(), parse_constant=pytest.fail)
