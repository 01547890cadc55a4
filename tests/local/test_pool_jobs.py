"""A call's jobs run one at a time on each core, and give the same masks on any number of cores."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from sam2_block.backends.local import local_backend as backend_module
from sam2_block.backends.local.local_backend import LocalBackend
from sam2_block.compute import openmp
from sam2_block.compute.compute_pool import ComputePool, cores, each
from sam2_block.prompts import Prompt
from sam2_block.settings import LocalSettings

CPU = torch.device("cpu")


@pytest.fixture
def pool() -> ComputePool:
    return ComputePool()


@pytest.fixture
def other_openmp(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have PyTorch's OpenMP taken for another than GNU's, in threads that are yet to begin."""
    monkeypatch.setattr(openmp, "_gnu_openmp", lambda: None)
    monkeypatch.setattr(backend_module, "COMPUTE_POOL", ComputePool())


@pytest.fixture
def two_threads() -> Iterator[None]:
    """Have PyTorch use two threads, and as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def jobs_of_a_call(pool: ComputePool, count: int, **options: int) -> list[tuple[int, int, int]]:
    """Return for each of so many jobs its item, its thread and how many threads PyTorch uses."""
    seen = []

    def job(item: int) -> None:
        seen.append((item, threading.get_ident(), torch.get_num_threads()))

    pool.run(CPU, lambda: each(job, range(count)), **options)
    return seen


@pytest.mark.usefixtures("two_threads")
def test_every_job_runs_once_on_one_core_in_threads_that_last(pool: ComputePool) -> None:
    seen = [jobs_of_a_call(pool, 40, max_cores=2) for _ in range(3)]
    for jobs in seen:
        assert sorted(item for item, _, _ in jobs) == list(range(40))
    threads = {thread for jobs in seen for _, thread, _ in jobs}
    assert 1 <= len(threads) <= 2
    assert threading.get_ident() not in threads
    assert {count for jobs in seen for _, _, count in jobs} == {1}
    assert torch.get_num_threads() == 2  # the application's number stays


def test_as_many_jobs_run_at_once_as_cores_may_be_used(pool: ComputePool) -> None:
    both, counts = threading.Barrier(3), []

    def call() -> None:
        counts.append(cores())
        each(lambda _: both.wait(60), range(3))

    pool.run(CPU, call, max_cores=3)
    assert counts == [3]


@pytest.mark.usefixtures("two_threads", "other_openmp")
def test_other_openmp_gives_one_thread_with_a_team(
    pool: ComputePool,
) -> None:
    seen = jobs_of_a_call(pool, 8)
    assert sorted(item for item, _, _ in seen) == list(range(8))
    assert len({thread for _, thread, _ in seen}) == 1
    assert {count for _, _, count in seen} == {2}


def test_jobs_outside_of_a_call_and_within_a_job_run_where_they_are(pool: ComputePool) -> None:
    here: list[int] = []
    each(lambda _: here.append(threading.get_ident()), range(3))
    assert set(here) == {threading.get_ident()}
    within: list[bool] = []

    def outer(_: int) -> None:
        thread = threading.get_ident()
        each(lambda _: within.append(threading.get_ident() == thread and cores() == 1), range(2))

    pool.run(CPU, lambda: each(outer, range(2)), max_cores=2)
    assert within == [True] * 4


def test_an_error_of_a_job_reaches_the_caller_and_the_others_end(pool: ComputePool) -> None:
    begun, may_end = threading.Event(), threading.Event()

    def job(item: int) -> None:
        if item == 0:
            begun.set()
            assert may_end.wait(60)
            time.sleep(0.05)
            ended.append(item)
        else:
            begun.wait(60)
            may_end.set()
            raise ZeroDivisionError

    ended: list[int] = []
    with pytest.raises(ZeroDivisionError):
        pool.run(CPU, lambda: each(job, [0, 1]), max_cores=2)
    assert ended == [0]  # nothing goes on behind the caller's back
    assert len(jobs_of_a_call(pool, 4, max_cores=2)) == 4


@pytest.mark.parametrize("way", ["one core", "three cores", "other openmp"])
@pytest.mark.parametrize("count", [1, 2, 7])
def test_masks_are_the_same_however_many_cores_there_are(
    way: str, count: int, coins: np.ndarray, request: pytest.FixtureRequest
) -> None:
    prompts = [Prompt(box_xyxy=(10.0 + 9 * i, 10.0, 60.0 + 9 * i, 70.0)) for i in range(count)]

    def ask(**settings: int) -> list[tuple[np.ndarray, float]]:
        backend = LocalBackend(LocalSettings(device="cpu", precision="fp32", **settings))
        found = backend.predict(coins, prompts, version="demo", multimask_output=True)
        return [(mask.mask().crop, mask.score) for mask in found]

    expected = ask(max_cores=2)
    if way == "other openmp":
        request.getfixturevalue("other_openmp")
    got = ask(max_cores=3 if way == "three cores" else 1)
    for (mask, score), (other, other_score) in zip(expected, got, strict=True):
        assert np.array_equal(mask, other)
        assert score == pytest.approx(other_score, abs=1e-5)
