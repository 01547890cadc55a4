"""Threads on streams of their own get what one caller gets."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.gpu.cuda import DEVICE, NEEDS_CUDA, make_backend
from tests.local.mixed_requests import Answer, answer, check_same, mixed_requests

pytestmark = NEEDS_CUDA


@pytest.mark.parametrize("cached_images", [1, 100])
@pytest.mark.parametrize("threads", [2, 8])
def test_threads_with_streams_give_what_one_gives(
    threads: int,
    cached_images: int,
    coins: np.ndarray,
    astronaut: np.ndarray,
    checkpoint_dir: Path,
) -> None:
    requests = mixed_requests(coins, astronaut, 32)
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
            check_same(ours, theirs)
