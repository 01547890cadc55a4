"""Make requests side by side, and wait no longer than agreed."""

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

# Beyond the deadline: enough for a request that is giving up to say why.
_GRACE_S = 1.0


def run_in_time(
    calls: Sequence[Callable[[], Result]], max_workers: int, deadline: Deadline, url: str
) -> list[Result]:
    """Run calls concurrently and return their results in order.

    A request watches its own deadline, but cannot interrupt a name lookup that hangs. So the wait
    for each call is bounded here too; its thread is a daemon and ends later.

    Args:
        calls: What to do.
        max_workers: Maximum of calls at once.
        deadline: When to give up. It ends with the first failure.
        url: Of the server, for the message.

    Raises:
        Exception: What the first of the failed calls raised. Those not yet begun are dropped.
        RemoteTimeoutError: The deadline is over.
    """
    # Taken out one by one: an error holds the frames that it passed. Where one of these holds the
    # error's future, both stay until the garbage collector runs, and the encoded image with them.
    futures: deque[Future[Result]] = deque(Future() for _ in calls)
    waiting = deque(zip(calls, futures, strict=True))

    def work() -> None:
        with contextlib.suppress(IndexError):
            while True:
                _fulfil(*waiting.popleft())

    end = Deadline(deadline.remaining_s() + _GRACE_S)
    results: list[Result] = []
    try:
        for _ in range(min(max_workers, len(calls))):
            threading.Thread(target=work, name="sam2_block-remote", daemon=True).start()
        while futures:
            results.append(_result(futures.popleft(), end))
        return results
    except _TooLateError:
        raise error_of_deadline(url, deadline) from None
    finally:
        if len(results) < len(calls):
            deadline.expire()  # for the calls under way, which nobody waits for any more
        for future in futures:
            future.cancel()


class _TooLateError(Exception):
    """The deadline is over."""


def _fulfil(call: Callable[[], Result], future: Future[Result]) -> None:
    try:
        if future.set_running_or_notify_cancel():
            future.set_result(call())
    except BaseException as error:
        future.set_exception(error)
    finally:
        del call, future


def _result(future: Future[Result], end: Deadline) -> Result:
    # Not `future.result(timeout)`: what that raises, a call may raise as well.
    try:
        if not wait([future], end.remaining_s()).done:
            raise _TooLateError
        return future.result()
    finally:
        del future
