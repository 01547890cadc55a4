"""A bounded set of recent keys, for facts about servers: callers may name any number of them."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable

from sam2_block import process_state


class RecentKeys:
    """A set that keeps the most recently added keys and drops the others. Thread-safe.

    Args:
        max_keys: Maximum number of keys.
        lifetime_s: Seconds after which an added key no longer counts.
        clock: Returns the time in seconds.
    """

    def __init__(
        self,
        max_keys: int,
        lifetime_s: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_keys = max_keys
        self._lifetime_s = lifetime_s
        self._clock = clock
        self.reset_after_fork()
        process_state.register(self)
        self._keys: OrderedDict[Hashable, float] = OrderedDict()

    def reset_after_fork(self) -> None:
        """Make a new lock; the keys stay."""
        self._lock = threading.RLock()

    def __contains__(self, key: Hashable) -> bool:
        with self._lock:
            added = self._keys.get(key)
            return added is not None and self._clock() - added < self._lifetime_s

    def add(self, key: Hashable) -> None:
        """Add or renew a key; drop the oldest one if there are too many."""
        with self._lock:
            self._keys[key] = self._clock()
            self._keys.move_to_end(key)
            while len(self._keys) > self._max_keys:
                self._keys.popitem(last=False)

    def discard(self, key: Hashable) -> None:
        """Remove a key, if it is present."""
        with self._lock:
            self._keys.pop(key, None)
