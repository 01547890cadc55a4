"""Which images a server was sent, so that they are not sent again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable


class KnownImages:
    """The images that a server is thought to know, the latest ones only. Thread-safe.

    A server may have forgotten any of them; whoever asks by id must be ready for that.

    Args:
        most: How many are remembered.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._keys: OrderedDict[Hashable, None] = OrderedDict()

    def __contains__(self, key: Hashable) -> bool:
        with self._lock:
            return key in self._keys

    def add(self, key: Hashable) -> None:
        """Remember an image, and forget the one that was added the longest ago if need be."""
        with self._lock:
            self._keys[key] = None
            self._keys.move_to_end(key)
            while len(self._keys) > self._most:
                self._keys.popitem(last=False)

    def discard(self, key: Hashable) -> None:
        """Forget an image."""
        with self._lock:
            self._keys.pop(key, None)
