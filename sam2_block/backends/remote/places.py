"""Bound how much is under way at once, even where some of it never ends."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Hashable, Iterator

from sam2_block import process_state
from sam2_block.backends.remote.retry import Deadline


class Places:
    """At most so many at once for each key. Thread-safe.

    Who outlives his deadline no longer counts: a request that hangs keeps nobody else waiting.

    Args:
        count: How many at once.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self.reset_after_fork()
        process_state.register(self)

    def reset_after_fork(self) -> None:
        """Drop the holders: their threads are not in the child."""
        self._changed = threading.Condition()
        self._taken: dict[Hashable, dict[object, Deadline]] = {}

    @contextlib.contextmanager
    def take(self, key: Hashable, deadline: Deadline) -> Iterator[bool]:
        """Hold a place while the context lasts, or until the deadline.

        Yields:
            Whether there is a place; False where none came free before the deadline.
        """
        holder = object()
        try:
            yield self._wait(key, holder, deadline)
        finally:
            with self._changed:
                holders = self._taken.get(key, {})
                holders.pop(holder, None)
                if not holders:
                    self._taken.pop(key, None)
                self._changed.notify_all()

    def _wait(self, key: Hashable, holder: object, deadline: Deadline) -> bool:
        with self._changed:
            while True:
                holders = self._taken.setdefault(key, {})
                for other in [h for h, end in holders.items() if end.remaining_s() == 0]:
                    del holders[other]
                if len(holders) < self._count:
                    holders[holder] = deadline
                    return True
                remaining_s = deadline.remaining_s()
                if remaining_s == 0:
                    return False
                self._changed.wait(min(remaining_s, *(e.remaining_s() for e in holders.values())))
