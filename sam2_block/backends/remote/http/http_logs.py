"""Keep what a server sends out of the log lines of httpx and httpcore: it may repeat the key."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator

from sam2_block.backends.remote.endpoints import Endpoint

# A filter works on the records of its own logger, not on those of the loggers below it.
_LOGGERS = ("httpx", "httpcore.connection", "httpcore.http11", "httpcore.proxy", "httpcore.socks")
_FROM_THE_SERVER = (" return_value=", " exception=")

_of_thread = threading.local()


class _WithoutServersWords(logging.Filter):
    """Cuts what a server sent out of the lines about this package's own requests."""

    def filter(self, record: logging.LogRecord) -> bool:
        endpoint: Endpoint | None = getattr(_of_thread, "endpoint", None)
        if endpoint is None:
            return True
        if record.name == "httpx" and isinstance(record.args, tuple) and len(record.args) == 5:
            record.args = (*record.args[:4], "")  # the reason phrase
        message = record.getMessage()
        for mark in _FROM_THE_SERVER:
            message = message.partition(mark)[0]
        record.msg, record.args = endpoint.without_key(message), ()
        return True


_FILTER = _WithoutServersWords()


@contextlib.contextmanager
def servers_words_hidden(endpoint: Endpoint) -> Iterator[None]:
    """Filter what this thread logs of requests to an endpoint while the context lasts."""
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_FILTER)  # once, however often it is added
    _of_thread.endpoint = endpoint
    try:
        yield
    finally:
        _of_thread.endpoint = None
