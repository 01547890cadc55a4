from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from sam2_block.backends.local import single_flight
from sam2_block.backends.local.single_flight import SingleFlight

# How long a test waits before it fails; when all is well nothing waits this long.
PATIENCE_S = 30.0


class Maker:
    """Blocks in `__call__` until released; counts its calls."""

    def __init__(self, result: object = "made", error: BaseException | None = None) -> None:
        self.calls = 0
        self.started = threading.Event()
        self.release = threading.Event()
        self._result, self._error = result, error

    def __call__(self) -> object:
        self.calls += 1
        self.started.set()
        assert self.release.wait(PATIENCE_S)
        if self._error is not None:
            raise self._error
        return self._result


class WatchedFuture(Future):
    """Tells how many threads have come to wait for a result."""

    waiting = threading.Semaphore(0)

    def result(self, timeout: float | None = None) -> object:
        self.waiting.release()
        return super().result(PATIENCE_S)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as threads:
        yield threads


@pytest.fixture
def ask_while_running(
    pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> Callable[[SingleFlight, Maker], list[Future]]:
    """Ask in nine threads; when this returns, one runs and the other eight wait for it."""
    monkeypatch.setattr(single_flight, "Future", WatchedFuture)
    monkeypatch.setattr(WatchedFuture, "waiting", threading.Semaphore(0))

    def ask(flights: SingleFlight, maker: Maker) -> list[Future]:
        futures = [pool.submit(flights.run, "key", maker) for _ in range(9)]
        assert maker.started.wait(PATIENCE_S)
        for _ in range(8):
            assert WatchedFuture.waiting.acquire(timeout=PATIENCE_S)
        return futures

    return ask


def test_those_who_ask_meanwhile_share_the_result(
    ask_while_running: Callable[[SingleFlight, Maker], list[Future]],
) -> None:
    result = object()
    maker = Maker(result)
    futures = ask_while_running(SingleFlight(), maker)
    maker.release.set()
    for future in futures:
        assert future.result(PATIENCE_S) is result
    assert maker.calls == 1


def test_other_keys_do_not_wait(pool: ThreadPoolExecutor) -> None:
    flights, slow = SingleFlight(), Maker()
    running = pool.submit(flights.run, "slow", slow)
    assert slow.started.wait(PATIENCE_S)
    assert pool.submit(flights.run, "quick", lambda: 1).result(PATIENCE_S) == 1
    assert not running.done()
    slow.release.set()
    assert running.result(PATIENCE_S) == "made"


def test_failure_reaches_all_who_waited_and_the_next_call_tries_again(
    ask_while_running: Callable[[SingleFlight, Maker], list[Future]],
) -> None:
    flights, maker = SingleFlight(), Maker(error=KeyError("no such file"))
    futures = ask_while_running(flights, maker)
    maker.release.set()
    for future in futures:
        with pytest.raises(KeyError, match="no such file"):
            future.result(PATIENCE_S)
    assert maker.calls == 1
    assert flights.run("key", lambda: "second try") == "second try"


INTERRUPTIONS = [KeyboardInterrupt, SystemExit, GeneratorExit]


class MakerInterruptedAtFirst(Maker):
    """Raises on the first call, and makes the value on the next."""

    def __call__(self) -> object:
        try:
            return super().__call__()
        finally:
            self._error = None


@pytest.mark.parametrize("error", INTERRUPTIONS)
def test_interruption_stays_with_its_thread_and_one_of_the_others_makes_the_value(
    error: type[BaseException],
    ask_while_running: Callable[[SingleFlight, Maker], list[Future]],
) -> None:
    maker = MakerInterruptedAtFirst(error=error("of one thread"))
    first, *others = ask_while_running(SingleFlight(), maker)
    maker.release.set()
    # Asked for, not raised: an interruption here would end the tests.
    assert isinstance(first.exception(PATIENCE_S), error)
    assert [future.exception(PATIENCE_S) for future in others] == [None] * 8
    assert [future.result(PATIENCE_S) for future in others] == ["made"] * 8
    # Those who come too late to share the second call make the value once more.
    assert 2 <= maker.calls <= 9


@pytest.mark.parametrize("error", INTERRUPTIONS)
def test_interruption_leaves_the_key_free(error: type[BaseException]) -> None:
    flights: SingleFlight[str, int] = SingleFlight()

    def interrupted() -> int:
        raise error

    with pytest.raises(error):
        flights.run("key", interrupted)
    assert flights.run("key", lambda: 5) == 5


@pytest.mark.parametrize("value", [None, 0, False])
def test_nothing_is_remembered(value: object) -> None:
    flights: SingleFlight[str, object] = SingleFlight()
    calls = []

    def make() -> object:
        calls.append(1)
        return value

    assert flights.run("key", make) is value
    assert flights.run("key", make) is value
    assert len(calls) == 2
