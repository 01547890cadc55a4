"""A server that sends any bytes, over sockets of its own."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

from sam2_block.backends.remote.endpoints import Endpoint
from sam2_block.backends.remote.http.client import HttpClient
from sam2_block.backends.remote.http.retry import Deadline, RetryPolicy
from sam2_block.settings import RemoteSettings

Handler = Callable[[socket.socket, int], None]


def response(body: Any, *headers: str, status: str = "200 OK") -> bytes:
    content = json.dumps(body).encode()
    head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(content)}", *headers])
    return head.encode() + b"\r\n\r\n" + content


def read_request(connection: socket.socket) -> dict[str, Any] | None:
    """Read a request and return its body; None where the client has closed the connection."""
    received = b""
    while b"\r\n\r\n" not in received:
        piece = connection.recv(65536)
        if not piece:
            return None
        received += piece
    head, _, content = received.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].split()[0])
    while len(content) < length:
        content += connection.recv(65536)
    return json.loads(content)


@contextlib.contextmanager
def serving(handler: Handler) -> Iterator[str]:
    """Run a server; the handler gets each connection and its number, from 0.

    Yields:
        The server's URL.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener, contextlib.ExitStack() as open_:
        threads = []

        def serve(connection: socket.socket, number: int) -> None:
            # The client may close the connection at any time.
            with contextlib.suppress(OSError):
                handler(connection, number)

        def accept() -> None:
            with contextlib.suppress(OSError):
                for number in range(1000):
                    connection = open_.enter_context(listener.accept()[0])
                    connection.settimeout(60)
                    thread = threading.Thread(target=serve, args=(connection, number), daemon=True)
                    threads.append(thread)
                    thread.start()

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def client() -> Iterator[HttpClient]:
    http = HttpClient(RemoteSettings(), retry_policy=RetryPolicy(max_attempts=1))
    try:
        yield http
    finally:
        http.close()


def post(http: HttpClient, url: str, key: str = "", path: str = "/x", seconds: float = 60) -> Any:
    return http.post(Endpoint(url, key or None), path, {}, Deadline(seconds))
