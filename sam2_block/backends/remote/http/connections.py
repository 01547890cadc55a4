"""TCP and TLS connections that end at their request's deadline and never mix two responses."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterable
from typing import Any

import h11
import httpcore

from sam2_block.backends.remote.http.retry import Deadline

# The time left is computed for each piece, so that a slow reader cannot exceed the deadline.
_WRITE_BYTES = 16 * 1024
_MAX_HEADER_BYTES = 100 * 1024  # as in httpcore's own parser


class GuardedBackend(httpcore.NetworkBackend):
    """Opens connections. Each thread has one request at a time, and sets its deadline."""

    def __init__(self) -> None:
        self._network = httpcore.SyncBackend()
        self._thread_state = threading.local()

    def set_deadline(self, deadline: Deadline | None) -> None:
        """Set the deadline of later reads and writes in this thread; None for no deadline."""
        self._thread_state.deadline = deadline

    def time_left(self, timeout: float | None, error: type[Exception]) -> float | None:
        """Return the seconds that an operation may take.

        Args:
            timeout: The longest wait for data that the request allows, or None.
            error: Raised where the deadline has passed.
        """
        deadline: Deadline | None = getattr(self._thread_state, "deadline", None)
        if deadline is None:
            return timeout
        remaining_s = deadline.remaining_s()
        if remaining_s == 0:
            raise error("the deadline of the request has passed")
        return remaining_s if timeout is None else min(timeout, remaining_s)

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Open a TCP connection for requests."""
        return self.guarded(self.open(host, port, timeout, local_address, socket_options))

    def open(
        self,
        host: str,
        port: int,
        timeout: float | None,
        local_address: str | None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None,
    ) -> TimedStream:
        """Open a TCP connection, not yet guarded, for a handshake before the requests."""
        left = self.time_left(timeout, httpcore.ConnectTimeout)
        stream = self._network.connect_tcp(host, port, left, local_address, socket_options)
        return TimedStream(stream, self)

    def guarded(self, stream: TimedStream) -> httpcore.NetworkStream:
        """Return the connection, guarded for the requests that follow."""
        return _GuardedStream(stream.stream, self)


class TimedStream(httpcore.NetworkStream):
    """A connection on which every operation ends at the deadline of its request.

    Attributes:
        stream: The connection itself.
    """

    def __init__(self, stream: httpcore.NetworkStream, backend: GuardedBackend) -> None:
        self.stream = stream
        self._backend = backend

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Receive bytes."""
        return self.stream.read(max_bytes, self._backend.time_left(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send bytes."""
        for start in range(0, len(buffer), _WRITE_BYTES):
            left = self._backend.time_left(timeout, httpcore.WriteTimeout)
            self.stream.write(buffer[start : start + _WRITE_BYTES], left)

    def close(self) -> None:
        """Close the connection."""
        self.stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        """Return the connection with TLS on top of it."""
        left = self._backend.time_left(timeout, httpcore.ConnectTimeout)
        stream = self.stream.start_tls(ssl_context, server_hostname, left)
        return _GuardedStream(stream, self._backend)

    def get_extra_info(self, info: str) -> Any:
        """Return what httpcore queries about a connection."""
        return self.stream.get_extra_info(info)


class _GuardedStream(TimedStream):
    """A connection that tracks whether its last response was complete and nothing followed it.

    httpcore keeps what a server sends after a response in its parser, and reads it as the response
    to the next request. Here such a connection reports itself as readable while it is idle, and
    httpcore closes it for that.
    """

    def __init__(self, stream: httpcore.NetworkStream, backend: GuardedBackend) -> None:
        super().__init__(stream, backend)
        self._exchange: _Exchange | None = None

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Receive bytes of a response."""
        data = super().read(max_bytes, timeout)
        if self._exchange is not None:
            self._exchange.receive(data)
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send bytes of a request.

        Raises:
            httpcore.ConnectionNotAvailable: The bytes begin a request, but the previous
                exchange did not end cleanly. The pool then opens another connection.
        """
        if self._exchange is None:
            self._exchange = _Exchange()
        elif self._exchange.has_begun:
            if self.get_extra_info("is_readable"):
                raise httpcore.ConnectionNotAvailable
            self._exchange = _Exchange()
        super().write(buffer, timeout)

    def get_extra_info(self, info: str) -> Any:
        """Return what httpcore queries about a connection."""
        if info == "is_readable" and self._exchange is not None and not self._exchange.is_clean:
            return True
        return super().get_extra_info(info)


class _Exchange:
    """One response, parsed by the library that httpcore uses, to find where it ends.

    Attributes:
        has_begun: Whether anything of the response has been received.
    """

    def __init__(self) -> None:
        self.has_begun = False
        self._is_malformed = False
        self._parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_HEADER_BYTES)
        # The framing of a response depends on the method alone, and all requests are POST.
        self._parser.send(h11.Request(method="POST", target="/", headers=[("Host", "any")]))
        self._parser.send(h11.EndOfMessage())

    def receive(self, data: bytes) -> None:
        """Parse more bytes of the response; none if the server closed the connection."""
        self.has_begun = True
        if self._is_malformed or self._is_over:
            self._is_malformed = self._is_malformed or bool(data)
            return
        try:
            self._parser.receive_data(data)
            while not self._is_over:
                if self._parser.next_event() in (h11.NEED_DATA, h11.PAUSED):
                    break
        except (h11.RemoteProtocolError, RuntimeError):
            self._is_malformed = True

    @property
    def _is_over(self) -> bool:
        return self._parser.their_state not in (h11.SEND_RESPONSE, h11.SEND_BODY)

    @property
    def is_clean(self) -> bool:
        """Whether the response is complete, allows another request, and nothing followed it."""
        return (
            not self._is_malformed
            and self._parser.their_state is h11.DONE
            and not self._parser.trailing_data[0]
        )
