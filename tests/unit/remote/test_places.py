from __future__ import annotations

import contextlib
import threading
import time

import pytest

from sam2_block.backends.remote.places import Places
from sam2_block.backends.remote.retry import Deadline

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
    places = Places(2)
    with places.take("a", later()) as first, places.take("a", later()) as second:
        assert (first, second) == (True, True)
        with places.take("a", over()) as third:
            assert third is False
    with places.take("a", over()) as again:
        assert again is True


def test_keys_do_not_share_places() -> None:
    places = Places(1)
    with places.take("a", later()), places.take("b", over()) as other:
        assert other is True


def test_place_is_free_after_a_failure() -> None:
    places = Places(1)
    with pytest.raises(KeyError), places.take("a", later()):
        raise KeyError("x")
    with places.take("a", over()) as again:
        assert again is True


def test_who_waits_gets_the_place_that_comes_free() -> None:
    places = Places(1)
    waiting, got = threading.Event(), []

    def wait() -> None:
        waiting.set()
        with places.take("a", later()) as taken:
            got.append(taken)

    thread = threading.Thread(target=wait)
    with places.take("a", later()):
        thread.start()
        assert waiting.wait(PATIENCE_S)
    thread.join(PATIENCE_S)
    assert got == [True]


def test_who_waits_comes_before_who_returns() -> None:
    """An image of many requests, each sent by the same few threads, starves no other image."""
    places = Places(1)
    order: list[str] = []

    def wait() -> None:
        with places.take("a", later()):
            order.append("who waited")

    thread = threading.Thread(target=wait)
    with places.take("a", later()):
        thread.start()
        while len(places._queues["a"]) < 2:
            time.sleep(0.001)
    for _ in range(50):  # at once: the other thread has hardly woken up
        with places.take("a", later()):
            order.append("who returned")
    thread.join(PATIENCE_S)
    assert order[0] == "who waited"
    assert len(order) == 51


def test_who_gave_up_keeps_nobody_waiting() -> None:
    places = Places(1)
    with places.take("a", later()), contextlib.ExitStack() as waiting:
        assert waiting.enter_context(places.take("a", over())) is False
        with places.take("a", over()) as third:
            assert third is False
    with places.take("a", over()) as again:
        assert again is True


def test_who_outlives_his_deadline_no_longer_counts() -> None:
    """A request that hangs: another takes its place, and its end frees no place of others."""
    places, clock = Places(1), Clock()
    with places.take("a", Deadline(5.0, clock)) as hanging:
        assert hanging is True
        clock.now = 6.0
        successor = places.take("a", later())
        assert successor.__enter__() is True
    with places.take("a", over()) as third:
        assert third is False
    successor.__exit__(None, None, None)
    with places.take("a", over()) as fourth:
        assert fourth is True


def test_failure_of_one_while_another_hangs_costs_no_place() -> None:
    places, clock = Places(2), Clock()
    with places.take("a", Deadline(5.0, clock)):
        for _ in range(5):
            with pytest.raises(KeyError), places.take("a", later()):
                raise KeyError("x")
        clock.now = 6.0
        with places.take("a", over()) as first, places.take("a", over()) as second:
            assert (first, second) == (True, True)


def test_nothing_is_kept_of_keys_that_are_not_in_use() -> None:
    places = Places(1)
    for index in range(10):
        with places.take(index, later()), places.take(index, over()):
            pass
    assert places._queues == {}
