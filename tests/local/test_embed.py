"""An image that was embedded ahead of its prompts is not encoded again."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from sam2_block.backends.local import local_backend as module
from sam2_block.backends.local.local_backend import LocalBackend
from sam2_block.messages.warn_once import forget_warnings
from sam2_block.prompts import Prompt
from sam2_block.settings import LocalSettings
from tests.engine.workflows import run, scene, segment, workflow

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
    backend = LocalBackend(LocalSettings(device="cpu"))
    backend.embed(coins, version="demo")
    backend.embed(coins.copy(), version="demo")
    (answer,) = backend.predict(coins, [PROMPT], version="demo", multimask_output=True)
    assert answer.score > 0.5
    assert encodes == [coins.shape]


def test_embedding_beside_segmenting_encodes_once(coins: np.ndarray, encodes: list[Any]) -> None:
    """A step beside the detector, and the segment step that comes while it is still at work."""
    backend = LocalBackend(LocalSettings(device="cpu"))
    with ThreadPoolExecutor(4) as threads:
        ahead = [threads.submit(backend.embed, coins, version="demo") for _ in range(2)]
        asked = [
            threads.submit(backend.predict, coins, [PROMPT], version="demo", multimask_output=True)
            for _ in range(2)
        ]
        for future in [*ahead, *asked]:
            future.result()
    assert encodes == [coins.shape]


# --- more images in one run than the cache keeps ---


def in_one_run(backend: LocalBackend | None, images: list[np.ndarray], **more: Any) -> None:
    """Embed and segment images, as the engine does: one step is done with all before the next."""
    embed = {
        "type": "sam2_block/embed@v1",
        "name": "ahead",
        "images": "$inputs.image",
        "version": "demo",
    }
    definition = workflow(embed, segment(images="$steps.ahead.image", points=[[5, 5]]))
    results = run(definition, backend, images, **more)
    assert [len(result["predictions"]) for result in results] == [1] * len(images)


@pytest.fixture
def nbytes(coins: np.ndarray) -> int:
    """Of one embedding."""
    backend = LocalBackend(LocalSettings(device="cpu"))
    backend.embed(coins, version="demo")
    return backend.embeddings.nbytes


def scenes(count: int) -> list[np.ndarray]:
    return [scene(30 + index, 40, (5, 5, 20, 20)) for index in range(count)]


@pytest.mark.parametrize(("kept", "images"), [(1, 3), (3, 3), (3, 8), (4, 5)])
def test_every_image_of_a_run_is_encoded_once(
    kept: int,
    images: int,
    nbytes: int,
    encodes: list[Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    forget_warnings()
    encodes.clear()
    backend = LocalBackend(LocalSettings(device="cpu", cache_bytes=kept * nbytes + 10))
    in_one_run(backend, scenes(images))
    assert sorted(encodes) == [image.shape for image in scenes(images)]
    assert backend.embeddings.nbytes <= kept * nbytes
    messages = [message for message in caplog.messages if "SAM2_BLOCK_CACHE_BYTES" in message]
    assert len(messages) == (images > kept)
    if images > kept:
        assert (
            f"embeds {images} images at once, and the cache holds the embeddings of {kept}"
            in (messages[0])
        )


def test_runs_one_after_the_other_are_encoded_once_and_warned_of_once(
    nbytes: int, encodes: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    forget_warnings()
    encodes.clear()
    backend = LocalBackend(LocalSettings(device="cpu", cache_bytes=2 * nbytes))
    images = scenes(9)
    for start in (0, 3, 6):
        in_one_run(backend, images[start : start + 3])
    assert sorted(encodes) == [image.shape for image in images]
    assert len([message for message in caplog.messages if "CACHE_BYTES" in message]) == 1


def test_a_stream_of_frames_without_objects_does_not_fill_the_cache(
    nbytes: int, encodes: list[Any]
) -> None:
    """Embeddings that were made ahead and never used give way to those of later frames."""
    backend = LocalBackend(LocalSettings(device="cpu", cache_bytes=2 * nbytes))
    images = scenes(6)
    for image in images[:5]:
        backend.embed(image, version="demo")
    encodes.clear()
    in_one_run(backend, images[5:])
    assert encodes == [images[5].shape]


def test_without_a_cache_the_model_is_warmed_up_and_every_image_encoded_on_demand(
    encodes: list[Any],
) -> None:
    backend = LocalBackend(LocalSettings(device="cpu", cache_bytes=0))
    in_one_run(backend, scenes(3))
    assert len(encodes) == 1 + 3
