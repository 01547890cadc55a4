from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from sam2_block import concurrent_map
from sam2_block.concurrent_map import map_concurrently, stream_concurrently

# How long a test waits before it fails; when all is well nothing waits this long.
PATIENCE_S = 30.0


@pytest.mark.parametrize("max_workers", [1, 2, 3, 100])
@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_results_are_in_the_order_of_the_items(count: int, max_workers: int) -> None:
    items = [f"item {index}" for index in range(count)]
    assert map_concurrently(str.upper, items, max_workers) == [item.upper() for item in items]


def test_order_is_not_that_in_which_they_end() -> None:
    second_is_done = threading.Event()

    def call(item: int) -> int:
        if item == 0:
            assert second_is_done.wait(PATIENCE_S)
        else:
            second_is_done.set()
        return item

    assert map_concurrently(call, [0, 1], 2) == [0, 1]


def test_as_many_run_max_workers_as_may_and_no_more() -> None:
    # Each waits for two others: fewer than three at once would break the barrier.
    together = threading.Barrier(3, timeout=PATIENCE_S)
    lock = threading.Lock()
    running, most = 0, 0

    def call(item: int) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        together.wait()
        with lock:
            running -= 1
        # Nobody begins the next item before all three have been counted out.
        together.wait()
        return item

    assert map_concurrently(call, range(9), 3) == list(range(9))
    assert most == 3


@pytest.mark.parametrize(("items", "max_workers"), [([1, 2, 3], 1), ([1], 4)])
def test_what_is_not_concurrent_map_runs_in_the_thread_of_the_caller(
    items: list[int], max_workers: int
) -> None:
    here = threading.get_ident()
    threads = map_concurrently(lambda item: threading.get_ident(), items, max_workers)
    assert set(threads) == {here}


def test_threads_say_whose_they_are() -> None:
    names = map_concurrently(lambda item: threading.current_thread().name, [1, 2], 2)
    assert all(name.startswith("sam2_block-image") for name in names)


@pytest.mark.parametrize("max_workers", [1, 2])
def test_first_failure_in_order_is_raised(max_workers: int) -> None:
    later_has_failed = threading.Event()

    def call(item: int) -> None:
        if item == 0 and max_workers == 2:
            assert later_has_failed.wait(PATIENCE_S)
        later_has_failed.set()
        raise KeyError(f"item {item}")

    with pytest.raises(KeyError, match="item 0"):
        map_concurrently(call, [0, 1], max_workers)


def test_items_after_a_failure_are_not_begun_one_at_a_time() -> None:
    begun = []

    def call(item: int) -> None:
        begun.append(item)
        if item == 1:
            raise ValueError("item 1")

    with pytest.raises(ValueError, match="item 1"):
        map_concurrently(call, range(5), 1)
    assert begun == [0, 1]


def test_items_not_begun_are_dropped_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = []
    dropped = threading.Event()

    class WatchedPool(ThreadPoolExecutor):
        def __exit__(self, *error: object) -> bool | None:
            dropped.set()
            return super().__exit__(*error)

    def call(item: int) -> None:
        begun.append(item)
        if item == 0:
            raise ValueError("item 0")
        assert dropped.wait(PATIENCE_S)

    monkeypatch.setattr(concurrent_map, "ThreadPoolExecutor", WatchedPool)
    with pytest.raises(ValueError, match="item 0"):
        map_concurrently(call, range(1000), 2)
    # The thread of the first may have taken another before the failure was known.
    assert set(begun) <= {0, 1, 2}


def test_nothing_runs_any_more_when_a_failure_is_raised() -> None:
    started, release = threading.Event(), threading.Event()
    ended = []

    def call(item: int) -> None:
        if item == 0:
            assert started.wait(PATIENCE_S)
            release.set()
            raise ValueError("item 0")
        started.set()
        assert release.wait(PATIENCE_S)
        ended.append(item)

    with pytest.raises(ValueError, match="item 0"):
        map_concurrently(call, [0, 1], 2)
    assert ended == [1]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_interruption_is_passed_on(error: type[BaseException]) -> None:
    def call(item: int) -> None:
        raise error

    with pytest.raises(error):
        map_concurrently(call, [1, 2], 2)


@pytest.mark.parametrize("max_workers", [1, 2, 4])
@pytest.mark.parametrize("count", [0, 1, 2, 9])
def test_a_stream_comes_in_order_and_is_not_read_far_ahead(count: int, max_workers: int) -> None:
    read, given = [], 0

    def items() -> Iterator[int]:
        for item in range(count):
            read.append(item)
            assert len(read) - given <= max_workers + 1
            yield item

    for result in stream_concurrently(lambda item: 10 * item, items(), max_workers):
        assert result == 10 * given
        given += 1
    assert given == count


def test_a_stream_is_read_while_calls_run() -> None:
    is_read = threading.Event()

    def items() -> Iterator[int]:
        yield 0
        is_read.set()
        yield 1

    def call(item: int) -> bool:
        return is_read.wait(PATIENCE_S)

    assert list(stream_concurrently(call, items(), 1)) == [True, True]


def test_a_failure_in_a_stream_is_raised_in_its_turn_and_ends_it() -> None:
    called = []

    def call(item: int) -> float:
        called.append(item)
        return 1 / (item - 2)

    results = stream_concurrently(call, itertools.count(), 1)
    assert [next(results), next(results)] == [-0.5, -1.0]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert max(called) <= 3
    assert list(results) == []


def test_an_endless_stream_can_be_left() -> None:
    before = set(threading.enumerate())
    results = stream_concurrently(abs, itertools.count(), 2)
    assert next(results) == 0
    results.close()
    assert set(threading.enumerate()) <= before
