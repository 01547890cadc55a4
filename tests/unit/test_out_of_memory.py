"""Memory that runs out while a mask is made is one error that says what to do, on every path."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
import supervision as sv
import torch
from roboflow_workflows.errors import StepExecutionError

from sam2_block import Segmenter
from sam2_block.backends.fake import FakeBackend
from sam2_block.backends.local import upsample
from sam2_block.backends.local.upsample import LowResMask
from sam2_block.backends.protocol import ReadyPrediction
from sam2_block.backends.remote import wire
from sam2_block.blocks.engine.kinds import serialise_predictions
from sam2_block.errors import ModelError
from sam2_block.masks import CroppedMask
from sam2_block.masks.arrays import MaskArray
from sam2_block.out_of_memory import is_memory_error
from sam2_block.prompts import Prompt
from tests.engine.workflows import run, segment, workflow
from tests.unit.remote.fake_endpoint import FakeEndpoint

PHOTO = np.zeros((60, 80, 3), dtype=np.uint8)
BOX = sv.Detections(xyxy=np.array([[10.0, 10, 30, 30]]))
SAYS = r"^memory ran out while masks were made\. Segment fewer objects at once, resize or slice"


def numpys(*_: Any, **__: Any) -> Any:
    return np.empty(2**50)


def pythons(*_: Any, **__: Any) -> Any:
    raise MemoryError


def pytorchs(*_: Any, **__: Any) -> Any:
    return torch.empty(2**50)


def open_cvs(*_: Any, **__: Any) -> Any:
    raise cv2.error("OpenCV(4.12) alloc.cpp:73: error: (-4:Insufficient memory) Failed to allocate")


KINDS = [numpys, pythons, pytorchs, open_cvs]
ALL = pytest.mark.parametrize("exhausted", KINDS)
Exhausted = Callable[..., Any]


@ALL
def test_it_is_known_for_what_it_is(exhausted: Exhausted) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - each has a type of its own
        exhausted()
    assert is_memory_error(caught.value)


@pytest.mark.parametrize(
    "error", [RuntimeError("shapes differ"), cv2.error("(-215:Assertion failed)"), ValueError("x")]
)
def test_other_errors_are_not_taken_for_it(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    assert not is_memory_error(error)
    monkeypatch.setattr(FakeBackend, "predict", fail)
    with pytest.raises(type(error)) as caught:
        Segmenter("demo", backend=FakeBackend()).segment(PHOTO, BOX)
    assert caught.value is error


LOW_RES = LowResMask.from_logits(np.ones((16, 16), np.float32), 0.5, (60, 80))


@ALL
@pytest.mark.parametrize("stage", ["across", "region"])
def test_a_mask_of_the_local_backend(
    stage: str, exhausted: Exhausted, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, name = {
        "across": (upsample._Axis, "blend"),
        "region": (CroppedMask, "from_region"),
    }[stage]
    assert not LOW_RES.mask().is_empty
    monkeypatch.setattr(owner, name, exhausted)
    with pytest.raises(ModelError, match=SAYS):
        LOW_RES.mask()


@pytest.mark.parametrize(
    ("path", "exhausted"),
    [
        *(("CroppedMask.from_region", kind) for kind in KINDS),
        *(("decode_coco_rle", kind) for kind in KINDS if kind is not open_cvs),  # without OpenCV
    ],
)
def test_a_mask_of_a_server(
    path: str, exhausted: Exhausted, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = FakeEndpoint().backend()
    owner = wire if "." not in path else CroppedMask
    monkeypatch.setattr(owner, path.split(".")[-1], exhausted)
    with pytest.raises(ModelError, match=SAYS):
        backend.predict(
            PHOTO,
            [Prompt(box_xyxy=(10.0, 10, 30, 30))],
            version="hiera_tiny",
            multimask_output=True,
        )
    backend._service.close()


STAGES = {
    "the prediction's mask": (ReadyPrediction, "mask"),
    "pasting": (CroppedMask, "paste_into"),
    "adding": (MaskArray, "append"),
    "the array": (MaskArray, "get"),
}


@ALL
@pytest.mark.parametrize(
    ("dense_bytes", "stage"),
    [
        *(("1000000", stage) for stage in STAGES),
        *(("0", stage) for stage in STAGES if stage != "pasting"),  # compact masks are not pasted
    ],
)
def test_segmenter(
    dense_bytes: str, stage: str, exhausted: Exhausted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAM2_BLOCK_DENSE_MASK_BYTES", dense_bytes)
    segmenter = Segmenter("demo", backend=FakeBackend())
    assert np.asarray(segmenter.segment(PHOTO, BOX).mask).any()
    monkeypatch.setattr(*STAGES[stage], exhausted)
    with pytest.raises(ModelError, match=SAYS):
        segmenter.segment(PHOTO, BOX)


@ALL
@pytest.mark.parametrize("stage", STAGES)
def test_block(
    stage: str, exhausted: Exhausted, monkeypatch: pytest.MonkeyPatch, fake_backend: FakeBackend
) -> None:
    monkeypatch.setattr(*STAGES[stage], exhausted)
    with pytest.raises(StepExecutionError, match=SAYS) as caught:
        run(workflow(segment(points=[[5, 5]])), fake_backend, PHOTO)
    assert isinstance(caught.value.inner_error, ModelError)


@ALL
def test_serialising_the_masks(exhausted: Exhausted, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = Segmenter("demo", backend=FakeBackend()).segment(PHOTO, BOX)
    monkeypatch.setattr(CroppedMask, "coco_rle", exhausted)
    with pytest.raises(ModelError, match=SAYS):
        serialise_predictions(rows)
