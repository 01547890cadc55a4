"""Make a value once, however many threads request it at the same time."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

from sam2_block import process_state

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class SingleFlight(Generic[Key, Value]):
    """Runs one call per key at a time; concurrent calls for the key wait and share its result.

    The error of a call that fails is raised in the waiting threads too; the next call tries again.
    A call whose thread is interrupted (`KeyboardInterrupt`, `SystemExit`) does not count as a
    failure: one of the waiting threads makes the value.
    """

    def __init__(self) -> None:
        self.reset_after_fork()
        process_state.register(self)

    def reset_after_fork(self) -> None:
        """Drop the calls in progress: their threads are not in the child."""
        self._lock = threading.Lock()
        self._running: dict[Key, Future[Value]] = {}

    def run(self, key: Key, make: Callable[[], Value]) -> Value:
        """Return `make()`, or the result of the call in progress for the same key."""
        while True:
            own: Future[Value] = Future()
            try:
                with self._lock:
                    flight = self._running.setdefault(key, own)
                if flight is own:
                    value = make()
                    self._remove(key, own)
                    own.set_result(value)
                    return value
            except BaseException as error:  # also an interruption before `make` begins
                self._remove(key, own)
                if not own.done():
                    is_failure = isinstance(error, Exception)
                    own.set_exception(error if is_failure else _InterruptedError())
                raise
            with contextlib.suppress(_InterruptedError):
                return flight.result()

    def _remove(self, key: Key, flight: Future[Value]) -> None:
        """Free the key; called before the waiting threads wake up and look it up again."""
        with self._lock:
            if self._running.get(key) is flight:
                del self._running[key]


class _InterruptedError(Exception):
    """The thread that made the value was interrupted."""
