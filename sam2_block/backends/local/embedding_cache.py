"""Keep the embeddings of the images seen last, within a budget of bytes."""

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

# Keys of embeddings that have left: enough to notice that the images come round again.
_MAX_EVICTED = 1000


class EmbeddingCache:
    """Least recently used embeddings leave first once the budget is full. Thread-safe.

    Args:
        max_bytes: Most bytes kept. An embedding larger than that is made and not kept.
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
        """Make a new lock, and complete what a thread of the parent may have left half done."""
        self._lock = threading.Lock()
        self._nbytes = sum(embedding.nbytes for embedding in self._entries.values())

    @property
    def nbytes(self) -> int:
        """Bytes of the embeddings kept now."""
        return self._nbytes

    @property
    def capacity(self) -> int | None:
        """How many embeddings as large as the largest so far are kept; None before the first."""
        return self.max_bytes // self._largest if self._largest else None

    def get_or_make(self, key: Hashable, make: Callable[[], Embedding]) -> Embedding:
        """Return the embedding of `key`, made by `make` at most once at a time."""
        kept = self._get(key)
        return kept if kept is not None else self._flights.run(key, lambda: self._fill(key, make))

    def clear(self) -> None:
        """Forget every embedding."""
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
        kept = self._get(key)  # another flight may have landed since the first look
        if kept is not None:
            return kept
        embedding = make()
        with self._lock:
            comes_again = key in self._evicted
            self._keep(key, embedding)
        if comes_again:
            warn_once(
                logger,
                "encoded again",
                "an image was encoded again, as its embedding had left the cache of %d bytes;"
                " where steps go over more than %d images, raise SAM2_BLOCK_CACHE_BYTES",
                self.max_bytes,
                self.capacity or 0,
            )
        return embedding

    def _keep(self, key: Hashable, embedding: Embedding) -> None:
        self._evicted.pop(key, None)
        self._largest = max(self._largest, embedding.nbytes)
        if embedding.nbytes > self.max_bytes:
            return
        self._entries[key] = embedding
        self._nbytes += embedding.nbytes
        while self._nbytes > self.max_bytes:
            oldest, dropped = self._entries.popitem(last=False)
            self._nbytes -= dropped.nbytes
            self._evicted[oldest] = None
        while len(self._evicted) > _MAX_EVICTED:
            self._evicted.popitem(last=False)
