"""Remember a bounded number of things about servers that anybody may name."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable

from sam2_block import process_state


class RecentKeys:
    """A set that keeps the keys added last, and forgets the others. Thread-safe.

    Args:
        max_keys: How many are kept.
        lifetime_s: How long a key is kept after it was added, in seconds.
        clock: Tells the time in seconds.
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
        """Keep a key, and forget the one that was added the longest ago if need be."""
        with self._lock:
            self._keys[key] = self._clock()
            self._keys.move_to_end(key)
            while len(self._keys) > self._max_keys:
                self._keys.popitem(last=False)

    def discard(self, key: Hashable) -> None:
        """Forget a key."""
        with self._lock:
            self._keys.pop(key, None)
