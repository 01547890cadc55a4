"""Run requests side by side, a bounded number at once, and wait no longer than agreed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from typing import Generic, TypeVar

from sam2_block.backends.remote.retry import Deadline
from sam2_block.errors import RemoteTimeoutError

Result = TypeVar("Result")

# Beyond the deadline: enough for a request that is giving up to say why.
_GRACE_S = 1.0


class Workers:
    """A bounded number of requests at once, whoever asks.

    A request watches its own deadline; but a name server that hangs, or an answer whose headers
    drip in, it cannot watch. So nobody waits for a request any longer than it may take: who waits
    is told in time, the place is free for others, and the thread, which holds up no exit of the
    process, ends when the network does.

    Args:
        count: Most requests under way at once.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._places = threading.Semaphore(count)

    def run(
        self, calls: Sequence[Callable[[], Result]], deadline: Deadline, asked: str
    ) -> list[Result]:
        """Make calls side by side and return their results in order.

        Args:
            calls: What to do.
            deadline: When to give up.
            asked: Who is asked, for the message.

        Raises:
            Exception: What the first of the failed calls raised. Those not yet begun are dropped.
            RemoteTimeoutError: The deadline is over.
        """
        batch = _Batch(calls, self._places, deadline)
        batch.start(min(self._count, len(calls)))
        try:
            return list(batch.results())
        except _TooLateError:
            raise RemoteTimeoutError(
                f"{asked} had not answered when the {deadline.seconds:g} s for one image were over"
                " (SAM2_BLOCK_DEADLINE_S)."
            ) from None
        finally:
            batch.drop()


class _TooLateError(Exception):
    """The deadline is over."""


class _Batch(Generic[Result]):
    """The calls of one who asks, and the threads that make them."""

    def __init__(
        self,
        calls: Sequence[Callable[[], Result]],
        places: threading.Semaphore,
        deadline: Deadline,
    ) -> None:
        self._places = places
        self._deadline = deadline
        self._futures: list[Future[Result]] = [Future() for _ in calls]
        self._waiting = iter(list(zip(calls, self._futures, strict=True)))
        self._lock = threading.Lock()
        self._taken = 0

    def start(self, threads: int) -> None:
        for _ in range(threads):
            threading.Thread(target=self._work, name="sam2_block-remote", daemon=True).start()

    def results(self) -> Iterator[Result]:
        end = Deadline(self._deadline.remaining_s() + _GRACE_S)
        for future in self._futures:
            try:
                yield _result_in_time(future, end)
            except CancelledError:
                raise _TooLateError from None

    def drop(self) -> None:
        """Begin nothing more, and give the places of calls that hang to others."""
        for future in self._futures:
            future.cancel()
        if self._deadline.remaining_s() == 0:
            with self._lock:
                freed, self._taken = self._taken, 0
            for _ in range(freed):
                self._places.release()

    def _work(self) -> None:
        while True:
            with self._lock:
                call, future = next(self._waiting, (None, None))
            if call is None or future is None:
                return
            if not self._places.acquire(timeout=self._deadline.remaining_s()):
                future.cancel()
                continue
            with self._lock:
                self._taken += 1
            try:
                if future.set_running_or_notify_cancel():
                    _settle(future, call)
            finally:
                with self._lock:
                    mine = self._taken > 0
                    self._taken -= mine
                if mine:
                    self._places.release()


def _result_in_time(future: Future[Result], end: Deadline) -> Result:
    done = threading.Event()
    future.add_done_callback(lambda _: done.set())
    if not done.wait(end.remaining_s()):
        raise _TooLateError
    return future.result()


def _settle(future: Future[Result], call: Callable[[], Result]) -> None:
    try:
        future.set_result(call())
    except BaseException as error:
        future.set_exception(error)
