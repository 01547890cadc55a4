"""Make requests side by side, and wait no longer than agreed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from typing import TypeVar

from sam2_block.backends.remote.failures import error_of_deadline
from sam2_block.backends.remote.retry import Deadline

Result = TypeVar("Result")

# Beyond the deadline: enough for a request that is giving up to say why.
_GRACE_S = 1.0


def run_in_time(
    calls: Sequence[Callable[[], Result]], max_workers: int, deadline: Deadline, asked: str
) -> list[Result]:
    """Make calls side by side and return their results in order.

    A request watches its own deadline, but cannot interrupt a name server that hangs. So nobody
    waits for a request any longer than it may take; its thread ends later, and holds up no exit of
    the process.

    Args:
        calls: What to do.
        max_workers: Most calls at once.
        deadline: When to give up.
        asked: Who is asked, for the message.

    Raises:
        Exception: What the first of the failed calls raised. Those not yet begun are dropped.
        RemoteTimeoutError: The deadline is over.
    """
    futures: list[Future[Result]] = [Future() for _ in calls]
    waiting = iter(list(zip(calls, futures, strict=True)))
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                item = next(waiting, None)
            if item is None:
                return
            call, future = item
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(call())
                except BaseException as error:
                    future.set_exception(error)

    end = Deadline(deadline.remaining_s() + _GRACE_S)
    try:
        for _ in range(min(max_workers, len(calls))):
            threading.Thread(target=work, name="sam2_block-remote", daemon=True).start()
        return list(_results(futures, end))
    except _TooLateError:
        raise error_of_deadline(asked, deadline) from None
    finally:
        for future in futures:
            future.cancel()


class _TooLateError(Exception):
    """The deadline is over."""


def _results(futures: Sequence[Future[Result]], end: Deadline) -> Iterator[Result]:
    for future in futures:
        # Not `future.result(timeout)`: what that raises, a call may raise as well.
        if not wait([future], end.remaining_s()).done:
            raise _TooLateError
        yield future.result()
