"""An HTTP proxy on loopback that spoils chosen answers of the server behind it."""

from __future__ import annotations

import http.client
import json
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from email.message import Message
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

Headers = tuple[tuple[str, str], ...]


class Reply(NamedTuple):
    status: int
    body: bytes
    headers: Headers = ()


@dataclass(frozen=True)
class Fault:
    """What happens to one request; the attributes combine.

    Attributes:
        delay_s: Wait this long first.
        reply: Answer with this, and forward nothing; bytes are sent as they are, without a head.
        rewrite: Put the parsed JSON answer through this.
        cut: Close the connection instead of forwarding, or in the middle of the answer's body.
        reset: Close it with a RST, not in order.
        trickle: Send this part of the answer one byte at a time.
        pause_s: How long to wait between those bytes.
    """

    delay_s: float = 0
    reply: Reply | bytes | None = None
    rewrite: Callable[[Any], Any] | None = None
    cut: Literal["request", "body"] | None = None
    reset: bool = False
    trickle: Literal["headers", "body"] | None = None
    pause_s: float = 0


DROP = Fault(cut="request")
RESET = Fault(cut="request", reset=True)
TRUNCATE = Fault(cut="body")
RESET_IN_BODY = Fault(cut="body", reset=True)
NOT_HTTP = Fault(reply=b"\x15\x03\x01\x00\x02\x02\x46\r\n\r\n")
NOT_JSON = Fault(reply=Reply(200, b'{"time": \x00\xff', (("Content-Type", "application/json"),)))
HTML = Fault(reply=Reply(200, b"<!doctype html><p>Sign in</p>", (("Content-Type", "text/html"),)))


def status(code: int, content: Any = None, **headers: str) -> Fault:
    """Answer with a status and JSON; `Retry_After="3"` is the header `Retry-After: 3`."""
    named = [(name.replace("_", "-"), value) for name, value in headers.items()]
    body = json.dumps(content).encode()
    return Fault(reply=Reply(code, body, (("Content-Type", "application/json"), *named)))


class Received(NamedTuple):
    number: int
    path: str
    fault: Fault | None
    body: bytes
    headers: Message  # case does not matter in a look-up


class FaultyProxy(ThreadingTCPServer):
    """Forwards requests to `upstream_url`, `http://host:port`, except as `plan` says.

    Args:
        plan: Called once for each request, one call at a time, with the request's number (from 0,
            in the order of arrival) and its path with the query; None is a faithful answer.

    Attributes:
        log: Every request so far, in the order of its number.
    """

    request_queue_size = 128

    def __init__(self, upstream_url: str, plan: Callable[[int, str], Fault | None]) -> None:
        super().__init__(("127.0.0.1", 0), _Exchange)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.upstream = urlsplit(upstream_url)
        self.log: list[Received] = []
        self.stopping = threading.Event()
        self._plan = plan
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._errors: list[BaseException] = []
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,))

    def __enter__(self) -> FaultyProxy:
        self._thread.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """Cut what is under way, and wait for every thread."""
        self.stopping.set()
        self.shutdown()
        with self._lock:
            for connection in self._connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self.server_close()
        if self._errors and kind is None:
            raise self._errors[0]

    def fault_of(self, path: str, body: bytes, headers: Message) -> Fault | None:
        with self._lock:
            number = len(self.log)
            fault = self._plan(number, path)
            self.log.append(Received(number, path, fault, body, headers))
        return fault

    @contextmanager
    def cut_at_the_end(self, connection: socket.socket) -> Iterator[None]:
        """Keep a connection where `__exit__` finds it: a thread may be waiting for its bytes."""
        with self._lock:
            if self.stopping.is_set():
                raise ConnectionAbortedError
            self._connections.add(connection)
        try:
            yield
        finally:
            with self._lock:
                self._connections.discard(connection)

    def handle_error(self, *_: object) -> None:
        """Keep a mistake in a test's plan for `__exit__`; that a client leaves is none."""
        error = sys.exc_info()[1]
        if error is not None and not isinstance(error, ConnectionError):
            self._errors.append(error)


class _Exchange(BaseHTTPRequestHandler):
    """One connection of a client, and its requests one after another."""

    server: FaultyProxy
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or the trickled bytes would be gathered

    def handle(self) -> None:
        with self.server.cut_at_the_end(self.connection):
            super().handle()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault = self.server.fault_of(self.path, body, self.headers) or Fault()
        self._pause(fault.delay_s)
        if fault.cut != "request":
            if isinstance(fault.reply, bytes):
                self.wfile.write(fault.reply)
            else:
                self._answer(fault.reply or self._forward(body), fault)
        if fault.cut or isinstance(fault.reply, bytes):
            self.close_connection = True
        if fault.reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            # Closed here: `socketserver` would send a FIN first.
            socket.close(self.connection.detach())

    do_GET = do_POST  # noqa: N815 - the name that is looked for

    def _forward(self, body: bytes) -> Reply:
        upstream = self.server.upstream
        connection = http.client.HTTPConnection(upstream.netloc)
        with closing(connection):
            connection.connect()
            with self.server.cut_at_the_end(connection.sock):
                path = upstream.path.rstrip("/") + self.path
                headers = dict(_of_the_message(self.headers.items()))
                connection.request(self.command, path, body or None, headers)
                answer = connection.getresponse()
                kept = _of_the_message(answer.getheaders())
                return Reply(answer.status, answer.read(), kept)

    def _answer(self, reply: Reply, fault: Fault) -> None:
        body = reply.body
        if fault.rewrite:
            body = json.dumps(fault.rewrite(json.loads(body))).encode()
        lines = [f"HTTP/1.1 {reply.status} {http.client.responses.get(reply.status, 'Unknown')}"]
        lines += [f"{name}: {value}" for name, value in reply.headers]
        head = "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode("latin-1")
        if fault.cut == "body":
            body = body[: len(body) // 2]
        for part, content in (("headers", head), ("body", body)):
            step = 1 if fault.trickle == part else len(content) or 1
            for position in range(0, len(content), step):
                self._pause(fault.pause_s if position else 0)
                self.wfile.write(content[position : position + step])

    def _pause(self, seconds: float) -> None:
        if self.server.stopping.wait(seconds):
            raise ConnectionAbortedError

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _of_the_message(headers: Iterable[tuple[str, str]]) -> Headers:
    """Leave out what is said anew on each connection, and the wish for a compressed answer."""
    own = ("host", "connection", "keep-alive", "transfer-encoding", "content-length")
    return tuple(pair for pair in headers if pair[0].lower() not in (*own, "accept-encoding"))
