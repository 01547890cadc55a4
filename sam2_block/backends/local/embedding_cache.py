"""Keep the embeddings of the images seen last, within a budget of bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable

from sam2_block.backends.local.network import Embedding
from sam2_block.backends.local.single_flight import SingleFlight


class EmbeddingCache:
    """Least recently used embeddings leave first once the budget is full. Thread-safe.

    Args:
        max_bytes: Most bytes kept. An embedding larger than that is made and not kept.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._lock = threading.Lock()
        self._entries: OrderedDict[Hashable, Embedding] = OrderedDict()
        self._nbytes = 0
        self._flights: SingleFlight[Hashable, Embedding] = SingleFlight()

    @property
    def nbytes(self) -> int:
        """Bytes of the embeddings kept now."""
        return self._nbytes

    def get_or_make(self, key: Hashable, make: Callable[[], Embedding]) -> Embedding:
        """Return the embedding of `key`, made by `make` at most once at a time."""
        kept = self._get(key)
        return kept if kept is not None else self._flights.run(key, lambda: self._fill(key, make))

    def clear(self) -> None:
        """Forget every embedding."""
        with self._lock:
            self._entries.clear()
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
            if embedding.nbytes <= self.max_bytes:
                self._entries[key] = embedding
                self._nbytes += embedding.nbytes
                while self._nbytes > self.max_bytes:
                    _, oldest = self._entries.popitem(last=False)
                    self._nbytes -= oldest.nbytes
        return embedding
