from __future__ import annotations

import contextlib
import threading
import time

import pytest

from sam2_block.backends.remote.expiring_semaphore import ExpiringSemaphore
from sam2_block.backends.remote.http.retry import Deadline

PATIENCE_S = 30.0


class Clock:
    """Time that passes only when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def later(seconds: float = PATIENCE_S) -> Deadline:
    return Deadline(seconds)


def over() -> Deadline:
    return Deadline(0.0)


def test_as_many_as_there_are_places_and_no_more() -> None:
    semaphore = ExpiringSemaphore(2)
    with semaphore.acquire("a", later()) as first, semaphore.acquire("a", later()) as second:
        assert (first, second) == (True, True)
        with semaphore.acquire("a", over()) as third:
            assert third is False
    with semaphore.acquire("a", over()) as again:
        assert again is True


def test_keys_do_not_share_permits() -> None:
    semaphore = ExpiringSemaphore(1)
    with semaphore.acquire("a", later()), semaphore.acquire("b", over()) as other:
        assert other is True


def test_place_is_free_after_a_failure() -> None:
    semaphore = ExpiringSemaphore(1)
    with pytest.raises(KeyError), semaphore.acquire("a", later()):
        raise KeyError("x")
    with semaphore.acquire("a", over()) as again:
        assert again is True


def test_who_waits_gets_the_place_that_comes_free() -> None:
    semaphore = ExpiringSemaphore(1)
    waiting, got = threading.Event(), []

    def wait() -> None:
        waiting.set()
        with semaphore.acquire("a", later()) as taken:
            got.append(taken)

    thread = threading.Thread(target=wait)
    with semaphore.acquire("a", later()):
        thread.start()
        assert waiting.wait(PATIENCE_S)
    thread.join(PATIENCE_S)
    assert got == [True]


def test_who_waits_comes_before_who_returns() -> None:
    """An image of many requests, each sent by the same few threads, starves no other image."""
    semaphore = ExpiringSemaphore(1)
    order: list[str] = []

    def wait() -> None:
        with semaphore.acquire("a", later()):
            order.append("who waited")

    thread = threading.Thread(target=wait)
    with semaphore.acquire("a", later()):
        thread.start()
        while len(semaphore._queues["a"]) < 2:
            time.sleep(0.001)
    for _ in range(50):  # at once: the other thread has hardly woken up
        with semaphore.acquire("a", later()):
            order.append("who returned")
    thread.join(PATIENCE_S)
    assert order[0] == "who waited"
    assert len(order) == 51


def test_who_gave_up_keeps_nobody_waiting() -> None:
    semaphore = ExpiringSemaphore(1)
    with semaphore.acquire("a", later()), contextlib.ExitStack() as waiting:
        assert waiting.enter_context(semaphore.acquire("a", over())) is False
        with semaphore.acquire("a", over()) as third:
            assert third is False
    with semaphore.acquire("a", over()) as again:
        assert again is True


def test_who_outlives_his_deadline_no_longer_counts() -> None:
    """A request that hangs: another takes its place, and its end frees no place of others."""
    semaphore, clock = ExpiringSemaphore(1), Clock()
    with semaphore.acquire("a", Deadline(5.0, clock)) as hanging:
        assert hanging is True
        clock.now = 6.0
        successor = semaphore.acquire("a", later())
        assert successor.__enter__() is True
    with semaphore.acquire("a", over()) as third:
        assert third is False
    successor.__exit__(None, None, None)
    with semaphore.acquire("a", over()) as fourth:
        assert fourth is True


def test_failure_of_one_while_another_hangs_costs_no_place() -> None:
    semaphore, clock = ExpiringSemaphore(2), Clock()
    with semaphore.acquire("a", Deadline(5.0, clock)):
        for _ in range(5):
            with pytest.raises(KeyError), semaphore.acquire("a", later()):
                raise KeyError("x")
        clock.now = 6.0
        with semaphore.acquire("a", over()) as first, semaphore.acquire("a", over()) as second:
            assert (first, second) == (True, True)


def test_nothing_is_kept_of_keys_that_are_not_in_use() -> None:
    semaphore = ExpiringSemaphore(1)
    for index in range(10):
        with semaphore.acquire(index, later()), semaphore.acquire(index, over()):
            pass
    assert semaphore._queues == {}
