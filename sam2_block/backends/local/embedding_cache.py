"""Cache the embeddings of recent images, within a budget of bytes."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable

from sam2_block import process_state
from sam2_block.backends.local.single_flight import SingleFlight
from sam2_block.messages.warn_once import warn_once
from sam2_block.sam2.network import Embedding

logger = logging.getLogger(__name__)

# Keys of evicted embeddings: enough to notice that the same images are encoded again.
_MAX_EVICTED = 1000


class EmbeddingCache:
    """Evicts the least recently used embeddings once the budget is full. Thread-safe.

    Args:
        max_bytes: Maximum bytes cached. A larger embedding is returned without being cached.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._lock = threading.Lock()
        self._entries: OrderedDict[Hashable, Embedding] = OrderedDict()
        self._evicted: OrderedDict[Hashable, None] = OrderedDict()
        self._nbytes = 0
        self._largest = 0
        self._flights: SingleFlight[Hashable, Embedding] = SingleFlight()
        process_state.register(self)

    def reset_after_fork(self) -> None:
        """Make a new lock, and recount the bytes: the parent may have been changing the entries."""
        self._lock = threading.Lock()
        self._nbytes = sum(embedding.nbytes for embedding in self._entries.values())

    @property
    def nbytes(self) -> int:
        """Bytes of the cached embeddings."""
        return self._nbytes

    @property
    def capacity(self) -> int | None:
        """How many embeddings of the largest size so far fit the budget; None before the first."""
        return self.max_bytes // self._largest if self._largest else None

    def get_or_make(self, key: Hashable, make: Callable[[], Embedding]) -> Embedding:
        """Return the embedding of `key`, made by `make` at most once at a time."""
        cached = self._get(key)
        if cached is not None:
            return cached
        return self._flights.run(key, lambda: self._fill(key, make))

    def clear(self) -> None:
        """Drop every embedding."""
        with self._lock:
            self._entries.clear()
            self._evicted.clear()
            self._nbytes = 0

    def _get(self, key: Hashable) -> Embedding | None:
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
            return self._entries.get(key)

    def _fill(self, key: Hashable, make: Callable[[], Embedding]) -> Embedding:
        cached = self._get(key)  # another thread may have stored it since the first lookup
        if cached is not None:
            return cached
        embedding = make()
        with self._lock:
            was_evicted = key in self._evicted
            self._store(key, embedding)
        if was_evicted:
            warn_once(
                logger,
                "encoded again",
                "an image was encoded again, as its embedding had been evicted from the cache of"
                " %d bytes; if steps process more than %d images, raise SAM2_BLOCK_CACHE_BYTES",
                self.max_bytes,
                self.capacity or 0,
            )
        return embedding

    def _store(self, key: Hashable, embedding: Embedding) -> None:
        self._evicted.pop(key, None)
        self._largest = max(self._largest, embedding.nbytes)
        if embedding.nbytes > self.max_bytes:
            return
        self._entries[key] = embedding
        self._nbytes += embedding.nbytes
        while self._nbytes > self.max_bytes:
            evicted_key, evicted = self._entries.popitem(last=False)
            self._nbytes -= evicted.nbytes
            self._evicted[evicted_key] = None
        while len(self._evicted) > _MAX_EVICTED:
            self._evicted.popitem(last=False)
