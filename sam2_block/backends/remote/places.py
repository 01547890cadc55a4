"""Bound how much is under way at once, even where some of it never ends."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Hashable, Iterator

from sam2_block import process_state
from sam2_block.backends.remote.retry import Deadline


class Places:
    """At most so many at once for each key, first come, first served. Thread-safe.

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
        # Holders and those who wait, in order of arrival. A thread that releases its permit and
        # wants the next one lines up behind those who wait; else it would always be faster.
        self._queues: dict[Hashable, dict[object, Deadline]] = {}

    @contextlib.contextmanager
    def take(self, key: Hashable, deadline: Deadline) -> Iterator[bool]:
        """Hold a place while the context lasts, or until the deadline.

        Yields:
            Whether there is a place; False where none came free before the deadline.
        """
        entry = object()
        try:
            yield self._wait(key, entry, deadline)
        finally:
            with self._changed:
                queue = self._queues.get(key, {})
                queue.pop(entry, None)
                if not queue:
                    self._queues.pop(key, None)
                self._changed.notify_all()

    def _wait(self, key: Hashable, entry: object, deadline: Deadline) -> bool:
        with self._changed:
            queue = self._queues.setdefault(key, {})
            queue[entry] = deadline
            while True:
                # All who are still there and were earlier: the first of them hold the permits.
                earlier = itertools.takewhile(lambda other: other[0] is not entry, queue.items())
                waits_s = [left for _, end in earlier if (left := end.remaining_s()) > 0]
                if len(waits_s) < self._count:
                    return True
                remaining_s = deadline.remaining_s()
                if remaining_s == 0:
                    return False
                self._changed.wait(min(remaining_s, *waits_s))
