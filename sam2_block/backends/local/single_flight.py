"""Make a thing once, however many threads ask for it at the same time."""

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
    """Runs one call a key at a time; whoever asks meanwhile waits for it and shares its result.

    A call that fails fails for those who waited for it; the next one tries again. A call whose
    thread is interrupted (`KeyboardInterrupt`, `SystemExit`) is no failure: one of those who waited
    makes the value.
    """

    def __init__(self) -> None:
        self.reset_after_fork()
        process_state.register(self)

    def reset_after_fork(self) -> None:
        """Drop the calls under way: their threads are not in the child."""
        self._lock = threading.Lock()
        self._running: dict[Key, Future[Value]] = {}

    def run(self, key: Key, make: Callable[[], Value]) -> Value:
        """Return `make()`, or the result of the call under way for the same key."""
        while True:
            mine: Future[Value] = Future()
            try:
                with self._lock:
                    flight = self._running.setdefault(key, mine)
                if flight is mine:
                    value = make()
                    self._remove(key, mine)
                    mine.set_result(value)
                    return value
            except BaseException as error:  # an interruption may come before `make` begins
                self._remove(key, mine)
                if not mine.done():
                    is_failure = isinstance(error, Exception)
                    mine.set_exception(error if is_failure else _InterruptedError())
                raise
            with contextlib.suppress(_InterruptedError):
                return flight.result()

    def _remove(self, key: Key, flight: Future[Value]) -> None:
        """Free the key, before those who wait wake up and look at it again."""
        with self._lock:
            if self._running.get(key) is flight:
                del self._running[key]


class _InterruptedError(Exception):
    """The thread that made the value was interrupted."""
