"""Run calls concurrently, and wait for them no longer than their deadline."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from typing import TypeVar

from sam2_block.backends.remote.http.failures import error_of_deadline
from sam2_block.backends.remote.http.retry import Deadline

Result = TypeVar("Result")

# Wait beyond the deadline: enough for a request that gives up to raise its own error.
_GRACE_S = 1.0


def run_with_deadline(
    calls: Sequence[Callable[[], Result]], max_workers: int, deadline: Deadline, url: str
) -> list[Result]:
    """Run calls concurrently and return their results in order.

    A request checks its own deadline, but cannot interrupt a name lookup that hangs. So the wait
    for each call is bounded here too; the thread of the call is a daemon and ends later.

    Args:
        calls: The functions to call, without arguments.
        max_workers: Maximum number of concurrent calls.
        deadline: When to give up. It expires with the first failure.
        url: The server's URL, for the error message.

    Raises:
        Exception: The error of the first call, in order, that failed. Calls that have not started
            are cancelled.
        RemoteTimeoutError: The deadline has passed.
    """
    # Futures are popped one by one: an error references the frames that it passed through. If such
    # a frame references the error's future, this cycle keeps both, and the encoded image, until the
    # garbage collector runs.
    futures: deque[Future[Result]] = deque(Future() for _ in calls)
    pending = deque(zip(calls, futures, strict=True))

    def work() -> None:
        with contextlib.suppress(IndexError):
            while True:
                _fulfil(*pending.popleft())

    end = Deadline(deadline.remaining_s() + _GRACE_S)
    results: list[Result] = []
    try:
        for _ in range(min(max_workers, len(calls))):
            threading.Thread(target=work, name="sam2_block-remote", daemon=True).start()
        while futures:
            results.append(_result(futures.popleft(), end))
        return results
    except _DeadlinePassedError:
        raise error_of_deadline(url, deadline) from None
    finally:
        if len(results) < len(calls):
            deadline.expire()  # stops the calls in progress; their results are not needed
        for future in futures:
            future.cancel()


class _DeadlinePassedError(Exception):
    """The deadline has passed."""


def _fulfil(call: Callable[[], Result], future: Future[Result]) -> None:
    try:
        if future.set_running_or_notify_cancel():
            future.set_result(call())
    except BaseException as error:
        future.set_exception(error)
    finally:
        del call, future


def _result(future: Future[Result], end: Deadline) -> Result:
    # Not `future.result(timeout)`: its `TimeoutError` could also be an error of the call.
    try:
        if not wait([future], end.remaining_s()).done:
            raise _DeadlinePassedError
        return future.result()
    finally:
        del future
