"""Calls are stateless: threads get what one caller gets, and share models and embeddings."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import supervision as sv

from sam2_block import Segmenter
from sam2_block.backends.local import local_backend as backend_module
from sam2_block.backends.local.local_backend import LocalBackend
from sam2_block.backends.local.models import model_registry
from sam2_block.backends.local.models.model_registry import MODELS
from sam2_block.prompts import Prompt
from sam2_block.settings import LocalSettings
from tests.local.mixed_requests import answer, check_same, mixed_requests

THREADS = 8


def test_eight_threads_give_the_masks_of_one(coins: np.ndarray, astronaut: np.ndarray) -> None:
    settings, requests = LocalSettings(device="cpu"), mixed_requests(coins, astronaut, 24)
    alone = LocalBackend(settings)
    expected = [answer(alone, request) for request in requests]
    shared = LocalBackend(settings)
    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(lambda request: answer(shared, request), requests * 2))
    for ours, theirs in zip(found, expected * 2, strict=True):
        check_same(ours, theirs)


def test_a_stream_of_photos_gives_what_each_gives_alone(
    coins: np.ndarray, astronaut: np.ndarray, coin_detections: Callable[[], sv.Detections]
) -> None:
    boxes = coin_detections()
    photos = [np.ascontiguousarray(photo) for photo in (coins, astronaut, coins[::-1], coins)]
    with Segmenter("demo") as segmenter:
        many = segmenter.segment_many((photo, boxes) for photo in photos)
        for photo, rows in zip(photos, many, strict=True):
            alone = segmenter.segment(photo, boxes)
            np.testing.assert_array_equal(rows.mask, alone.mask)
            np.testing.assert_allclose(rows.confidence, alone.confidence, atol=1e-6)


@pytest.fixture
def encodes(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return a list that grows with every image that is encoded."""
    return counted(monkeypatch, backend_module, "encode")


def counted(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> list[Any]:
    calls: list[Any] = []
    function = getattr(module, name)
    monkeypatch.setattr(module, name, lambda *args: (calls.append(args), function(*args))[1])
    return calls


def test_threads_load_one_model_and_encode_an_image_once(
    coins: np.ndarray, encodes: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    loads = counted(monkeypatch, model_registry, "load_model")
    MODELS.unload()
    backend = LocalBackend(LocalSettings(device="cpu"))
    start = threading.Barrier(THREADS)

    def ask(index: int) -> None:
        start.wait()
        box = Prompt(box_xyxy=(10.0 + index, 10, 60, 60))
        backend.predict(coins.copy(), [box], version="demo", multimask_output=True)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(ask, range(THREADS)))
    assert len(loads) == 1
    assert len(encodes) == 1


def test_the_next_frame_with_the_same_content_is_not_encoded_again(
    coins: np.ndarray, encodes: list[Any]
) -> None:
    backend = LocalBackend(LocalSettings(device="cpu"))
    changed = coins.copy()
    changed[0, 0] += 1
    box = [Prompt(box_xyxy=(10, 10, 60, 60))]
    for frame in (coins, coins.copy(), changed, coins):
        backend.predict(frame, box, version="demo", multimask_output=True)
    assert len(encodes) == 2


def test_without_a_cache_every_call_encodes(coins: np.ndarray, encodes: list[Any]) -> None:
    backend = LocalBackend(LocalSettings(device="cpu", cache_bytes=0))
    for _ in range(2):
        backend.predict(
            coins, [Prompt(box_xyxy=(10, 10, 60, 60))], version="demo", multimask_output=True
        )
    assert len(encodes) == 2
    assert backend.embeddings.nbytes == 0
