"""Connections of one request after another: nothing crosses, and nothing outlives its deadline."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from typing import Any

import pytest

from sam2_block.backends.remote.endpoints import Endpoint
from sam2_block.backends.remote.http.retry import Deadline
from sam2_block.errors import (
    RemoteConnectionError,
    RemoteError,
    RemoteStatusError,
    RemoteTimeoutError,
)
from tests.unit.remote.raw_server import client, post, read_request, response, serving


def chunked(body: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


STALE = response("of the other")
# What a server sends in response to the first of two requests -> whether its connection is reused.
FIRST = {
    "a response": (response("first"), True),
    "a response in chunks": (chunked(b'"first"'), True),
    "an interim response first": (b"HTTP/1.1 100 Continue\r\n\r\n" + response("first"), True),
    "and a whole second one": (response("first") + STALE, False),
    "in chunks and a second one": (chunked(b'"first"') + STALE, False),
    "and the start of a second one": (response("first") + STALE[:20], False),
    "and one byte": (response("first") + b"H", False),
    "and a line": (response("first") + b"\r\n", False),
    "and many responses": (response("first") + STALE * 50, False),
    "and more than is read at once": (response("first") + STALE + b" " * 300_000, False),
    "and will close": (response("first", "Connection: close"), False),
    "as of an older protocol": (response("first").replace(b"1.1", b"1.0", 1), False),
    "an error and a second one": (response("first", status="500 No") + STALE, False),
}


@pytest.mark.parametrize("name", FIRST)
def test_what_is_left_of_one_response_is_no_part_of_the_next(name: str) -> None:
    sent, is_reused = FIRST[name]
    connections: list[int] = []

    def handle(connection: socket.socket, number: int) -> None:
        while (body := read_request(connection)) is not None:
            connections.append(number)
            mine = response(body.get("api_key"))
            connection.sendall(sent if len(connections) == 1 else mine)

    with serving(handle) as url, client() as http:
        with contextlib.suppress(RemoteError):
            assert post(http, url, "one") == "first"
        # Another key and another path; and the connection is as good as any afterwards.
        assert post(http, url, "two", "/y") == "two"
        assert post(http, url, "three") == "three"
    assert connections == ([0, 0, 0] if is_reused else [0, 1, 1])


@pytest.mark.parametrize("count", [20])
def test_bytes_that_come_late_are_no_response_to_a_later_request(count: int) -> None:
    """They arrive while the connection is idle, before the next request is sent."""

    def handle(connection: socket.socket, number: int) -> None:
        while (body := read_request(connection)) is not None:
            connection.sendall(response(body["api_key"]))
            connection.sendall(response("of another"))
            sent.release()

    sent = threading.Semaphore(0)
    with serving(handle) as url, client() as http:
        for index in range(count):
            assert post(http, url, f"key {index}") == f"key {index}"
            assert sent.acquire(timeout=60)


def test_bytes_between_the_check_and_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pool finds the connection idle; then something arrives, and then the request is sent."""
    arrived, connections = threading.Event(), []

    def handle(connection: socket.socket, number: int) -> None:
        connections.append(number)
        while (body := read_request(connection)) is not None:
            connection.sendall(response(body["api_key"]))
            if number == 0:
                assert checked.wait(60)
                connection.sendall(response("of another"))
                arrived.set()

    checked = threading.Event()
    with serving(handle) as url, client() as http:
        assert post(http, url, "one") == "one"
        pool = http._http._transport._pools[None]
        (idle,) = pool.connections
        handle_request = type(idle).handle_request

        def late(self: Any, request: Any) -> Any:
            if self is idle and not checked.is_set():
                checked.set()
                assert arrived.wait(60)
                stream = self._connection._network_stream
                assert select.select([stream.get_extra_info("socket")], [], [], 60)[0]
            return handle_request(self, request)

        monkeypatch.setattr(type(idle), "handle_request", late)
        assert post(http, url, "two") == "two"
    assert connections == [0, 1]


def test_response_before_the_request_is_none() -> None:
    def handle(connection: socket.socket, number: int) -> None:
        connection.sendall(response("too early"))
        connection.shutdown(socket.SHUT_RDWR)

    with serving(handle) as url, client() as http:
        payload = {"image": "x" * 30_000_000}  # more than the buffers of sockets hold

        with pytest.raises(RemoteConnectionError):
            http.post(Endpoint(url), "/x", payload, Deadline(60))


HEAD = b"HTTP/1.1 200 OK\r\n"
DRIPS = {
    "the status line": (b"", b"HTTP/1.1 200 OK" + b"K" * 200),
    "the headers": (HEAD, b"x-header: yes\r\n" * 15),
    "interim responses": (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 10),
    "the body": (HEAD + b"Content-Length: 100000\r\n\r\n", b" " * 200),
    "a body in chunks": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n" * 40),
}


@pytest.mark.parametrize("name", DRIPS)
def test_server_that_drips_is_given_up_at_the_deadline(name: str) -> None:
    """No silence is long enough for a timeout; the socket is closed all the same."""
    start, drops = DRIPS[name]
    closed = threading.Event()

    def handle(connection: socket.socket, number: int) -> None:
        read_request(connection)
        try:
            connection.sendall(start)
            for index in range(len(drops)):
                connection.sendall(drops[index : index + 1])
                if closed.wait(0.02):
                    return
        except OSError:
            closed.set()

    with serving(handle) as url, client() as http:
        with pytest.raises(RemoteTimeoutError, match=r"did not respond within the 0\.4 s"):
            post(http, url, seconds=0.4)
        assert closed.wait(60)


def test_server_that_takes_the_request_slowly_is_given_up_at_the_deadline() -> None:

    done = threading.Event()

    def handle(connection: socket.socket, number: int) -> None:
        while not done.wait(0.02):
            if not connection.recv(2000):
                done.set()

    with serving(handle) as url, client() as http:
        with pytest.raises(RemoteTimeoutError, match=r"did not respond within the 0\.5 s"):
            http.post(Endpoint(url), "/x", {"image": "x" * 30_000_000}, Deadline(0.5))
        done.set()


@pytest.mark.parametrize(
    "location",
    ["http://a:port/", "http://[::1/", "http://xn--0/", "mailto:x", "http://a\x01/", "/" * 70_000],
    ids=lambda location: location[:20],
)
def test_redirect_to_what_is_no_url_is_a_redirect(location: str) -> None:
    def handle(connection: socket.socket, number: int) -> None:
        while read_request(connection) is not None:
            connection.sendall(response({}, f"Location: {location}", status="302 Found"))

    refusal = pytest.raises(RemoteStatusError, match="redirects are not followed")
    with serving(handle) as url, client() as http, refusal as caught:
        post(http, url)
    assert not caught.value.transient
