"""Remember a bounded number of things about servers that anybody may name."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

from sam2_block.process_state import ForkSafeLock


class RecentKeys:
    """A set that keeps the keys added last, and forgets the others. Thread-safe.

    Args:
        most: How many are kept.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = ForkSafeLock()
        self._keys: OrderedDict[Hashable, None] = OrderedDict()

    def __contains__(self, key: Hashable) -> bool:
        with self._lock:
            return key in self._keys

    def add(self, key: Hashable) -> None:
        """Keep a key, and forget the one that was added the longest ago if need be."""
        with self._lock:
            self._keys[key] = None
            self._keys.move_to_end(key)
            while len(self._keys) > self._most:
                self._keys.popitem(last=False)

    def discard(self, key: Hashable) -> None:
        """Forget a key."""
        with self._lock:
            self._keys.pop(key, None)
