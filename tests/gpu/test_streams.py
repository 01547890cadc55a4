"""Threads on streams of their own get what one caller gets."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from sam2_block.backends.local.backend import LocalBackend
from sam2_block.prompts import LabeledPoint, Prompt
from tests.gpu.cuda import DEVICE, NEEDS_CUDA, make_backend

pytestmark = NEEDS_CUDA

Request = tuple[np.ndarray, list[Prompt]]
Answer = list[tuple[float, int, int, np.ndarray]]


@pytest.fixture
def requests(coins: np.ndarray, astronaut: np.ndarray) -> list[Request]:
    """Four images, each with several mixtures of prompts."""
    images = [coins, astronaut, astronaut[::2, ::3], coins[40:200, 10:350]]
    made = []
    for index in range(32):
        image = images[index % len(images)]
        height, width = image.shape[:2]
        x, y = (index * 7) % (width - 40), (index * 11) % (height - 40)
        box = Prompt(box_xyxy=(x, y, x + 40.0, y + 30.0))
        point = Prompt(points=(LabeledPoint(x + 5, y + 5),))
        made.append((image, [box, point] if index % 2 else [point, box, box]))
    return made


def answer(backend: LocalBackend, request: Request) -> Answer:
    image, prompts = request
    found = backend.predict(image, prompts, version="demo", multimask_output=True)
    return [(a.score, a.mask().x, a.mask().y, a.mask().crop) for a in found]


@pytest.mark.parametrize("cached_images", [1, 100])
@pytest.mark.parametrize("threads", [2, 8])
def test_threads_with_streams_give_what_one_gives(
    threads: int, cached_images: int, requests: list[Request], checkpoint_dir: Path
) -> None:
    alone = make_backend(checkpoint_dir)
    expected = [answer(alone, request) for request in requests]
    one_embedding = alone.embeddings.nbytes // 4
    alone.close()  # the threads load the model anew, one for the others

    # With room for one embedding, each is dropped while other streams may still read it.
    shared = make_backend(checkpoint_dir, cache_bytes=cached_images * one_embedding)
    begin = threading.Barrier(threads)

    def work(_: int) -> list[Answer]:
        with torch.cuda.stream(torch.cuda.Stream(DEVICE)):
            begin.wait()
            return [answer(shared, request) for request in requests]

    with ThreadPoolExecutor(threads) as pool:
        found = list(pool.map(work, range(threads)))
    for of_thread in found:
        for ours, theirs in zip(of_thread, expected, strict=True):
            _check_equal(ours, theirs)


def _check_equal(ours: Answer, theirs: Answer) -> None:
    for (score, x, y, crop), (one_score, one_x, one_y, one_crop) in zip(ours, theirs, strict=True):
        assert score == pytest.approx(one_score, abs=1e-5)
        assert (x, y, crop.shape) == (one_x, one_y, one_crop.shape)
        assert (crop != one_crop).mean() < 1e-3
