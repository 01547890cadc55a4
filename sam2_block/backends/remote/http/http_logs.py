"""Remove server-sent text from the log lines of httpx and httpcore: it may repeat the key."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator

from sam2_block.backends.remote.endpoints import Endpoint

# A filter applies to the records of its own logger, not to those of child loggers.
_LOGGERS = ("httpx", "httpcore.connection", "httpcore.http11", "httpcore.proxy", "httpcore.socks")
_SERVER_TEXT_MARKS = (" return_value=", " exception=")

_thread_state = threading.local()


class _ServerTextFilter(logging.Filter):
    """Removes server-sent text from the log lines about this package's own requests."""

    def filter(self, record: logging.LogRecord) -> bool:
        endpoint: Endpoint | None = getattr(_thread_state, "endpoint", None)
        if endpoint is None:
            return True
        if record.name == "httpx" and isinstance(record.args, tuple) and len(record.args) == 5:
            record.args = (*record.args[:4], "")  # the reason phrase
        message = record.getMessage()
        for mark in _SERVER_TEXT_MARKS:
            message = message.partition(mark)[0]
        record.msg, record.args = endpoint.without_key(message), ()
        return True


_FILTER = _ServerTextFilter()


@contextlib.contextmanager
def redacted_http_logs(endpoint: Endpoint) -> Iterator[None]:
    """Filter this thread's log lines about requests to an endpoint while the context lasts."""
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_FILTER)  # has no effect if it is already added
    _thread_state.endpoint = endpoint
    try:
        yield
    finally:
        _thread_state.endpoint = None
