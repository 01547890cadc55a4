"""An image that was embedded ahead of its prompts is not encoded again."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from sam2_block.backends.local import backend as module
from sam2_block.backends.local.backend import LocalBackend
from sam2_block.prompts import Prompt
from sam2_block.settings import Settings

PROMPT = Prompt(box_xyxy=(81.0, 39.0, 116.0, 74.0))


@pytest.fixture
def encodes(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The shapes of the images that are encoded."""
    shapes: list[Any] = []
    original, lock = module.encode, threading.Lock()

    def counted(model: Any, compute: Any, image: np.ndarray) -> Any:
        with lock:
            shapes.append(image.shape)
        return original(model, compute, image)

    monkeypatch.setattr(module, "encode", counted)
    return shapes


def test_segmenting_after_embedding_encodes_once(coins: np.ndarray, encodes: list[Any]) -> None:
    backend = LocalBackend(Settings(device="cpu"))
    backend.embed(coins, version="demo")
    backend.embed(coins.copy(), version="demo")
    (answer,) = backend.predict(coins, [PROMPT], version="demo", multimask_output=True)
    assert answer.score > 0.5
    assert encodes == [coins.shape]


def test_embedding_beside_segmenting_encodes_once(coins: np.ndarray, encodes: list[Any]) -> None:
    """A step beside the detector, and the segment step that comes while it is still at work."""
    backend = LocalBackend(Settings(device="cpu"))
    with ThreadPoolExecutor(4) as threads:
        ahead = [threads.submit(backend.embed, coins, version="demo") for _ in range(2)]
        asked = [
            threads.submit(backend.predict, coins, [PROMPT], version="demo", multimask_output=True)
            for _ in range(2)
        ]
        for future in [*ahead, *asked]:
            future.result()
    assert encodes == [coins.shape]
