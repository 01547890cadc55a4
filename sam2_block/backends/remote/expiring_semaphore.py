"""A semaphore whose permits expire, so that a hung request cannot block others forever."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Hashable, Iterator

from sam2_block import process_state
from sam2_block.backends.remote.http.retry import Deadline


class ExpiringSemaphore:
    """A fixed number of permits per key, granted in order of arrival. Thread-safe.

    A permit expires at its holder's deadline, so a hung request cannot block others.

    Args:
        count: Permits per key.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self.reset_after_fork()
        process_state.register(self)

    def reset_after_fork(self) -> None:
        """Drop the holders: their threads do not exist in the child."""
        self._changed = threading.Condition()
        # Holders and waiters, in order of arrival. A thread that releases its permit and needs
        # another queues behind the waiters; otherwise it would always get the permit before them.
        self._queues: dict[Hashable, dict[object, Deadline]] = {}

    @contextlib.contextmanager
    def acquire(self, key: Hashable, deadline: Deadline) -> Iterator[bool]:
        """Hold a permit while the context lasts, or until the deadline.

        Yields:
            Whether a permit is held; False if none became free before the deadline.
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
                # Of the earlier entries that have not expired, the first `count` hold the permits.
                earlier = itertools.takewhile(lambda other: other[0] is not entry, queue.items())
                waits_s = [left for _, end in earlier if (left := end.remaining_s()) > 0]
                if len(waits_s) < self._count:
                    return True
                remaining_s = deadline.remaining_s()
                if remaining_s == 0:
                    return False
                self._changed.wait(min(remaining_s, *waits_s))
