"""Requests through SOCKS5 proxies, kind and hostile."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections.abc import Iterator

import pytest

from sam2_block.errors import RemoteConnectionError, RemoteError, RemoteTimeoutError
from tests.unit.remote.raw_server import client, post, read_request, response, serving

PASSWORD = "pass-of-the-proxy"
OPEN, LOGIN = b"\x05\x00", b"\x05\x02"
BOUND = b"\x01\x7f\x00\x00\x01\x00\x50"


def relay(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)


class Socks:
    """A proxy that connects to one server, whatever it is asked for.

    Attributes:
        received: What clients sent in the handshake, message by message.
        connections: How many there were.
    """

    def __init__(self, port: int, method: bytes, bound: bytes) -> None:
        self.received: list[bytes] = []
        self.connections = 0
        self._port, self._method, self._bound = port, method, bound

    def __call__(self, connection: socket.socket, number: int) -> None:
        self.connections += 1
        self.received.append(connection.recv(1000))
        connection.sendall(self._method)
        if self._method == LOGIN:
            self.received.append(connection.recv(1000))
            connection.sendall(b"\x01\x00")
        self.received.append(connection.recv(1000))
        with socket.create_connection(("127.0.0.1", self._port)) as server:
            for byte in b"\x05\x00\x00" + self._bound:  # as slowly as networks may be
                connection.sendall(bytes([byte]))
            back = threading.Thread(target=relay, args=(server, connection), daemon=True)
            back.start()
            relay(connection, server)


@pytest.fixture
def server_port() -> Iterator[int]:
    def handle(connection: socket.socket, number: int) -> None:
        while (body := read_request(connection)) is not None:
            connection.sendall(response([number, body.get("api_key")]))

    with serving(handle) as url:
        yield int(url.rpartition(":")[2])


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
@pytest.mark.parametrize(
    "bound",
    [BOUND, b"\x04" + bytes(18), b"\x03\x04name\x00\x50"],
    ids=["IPv4", "IPv6", "name"],
)
def test_requests_share_a_connection(
    scheme: str, bound: bytes, server_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    socks = Socks(server_port, OPEN, bound)
    with serving(socks) as proxy_url:
        monkeypatch.setenv("ALL_PROXY", proxy_url.replace("http", scheme))
        with client() as http:
            results = [post(http, "http://sam2.test", key) for key in ("one", "two")]
    assert results == [[0, "one"], [0, "two"]]
    assert socks.received == [b"\x05\x01\x00", b"\x05\x01\x00\x03\x09sam2.test\x00\x50"]
    assert socks.connections == 1


def test_password_goes_to_the_proxy_and_into_no_log(
    server_port: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    socks = Socks(server_port, LOGIN, BOUND)
    with serving(socks) as proxy_url:
        monkeypatch.setenv("ALL_PROXY", proxy_url.replace("http://", f"socks5://joe:{PASSWORD}@"))
        with client() as http:
            assert post(http, "http://[::1]:81", "one") == [0, "one"]
    login = b"\x01\x03joe\x11" + PASSWORD.encode()
    request = b"\x05\x01\x00\x04" + bytes(15) + b"\x01\x00\x51"
    assert socks.received == [b"\x05\x02\x00\x02", login, request]
    assert PASSWORD not in caplog.text


@pytest.mark.parametrize(
    ("replies", "detail"),
    [
        ([b""], "closed the connection"),
        ([b"\x05"], "closed the connection"),
        ([b"HTTP/1.1 400 No\r\n\r\n"], "does not use SOCKS5"),
        ([b"\x05\xff"], "none of the offered login methods"),
        ([b"\x05\x01"], "none of the offered login methods"),
        ([LOGIN, b"\x01\x01"], "did not accept the user and the password"),
        ([LOGIN, b"\x01"], "closed the connection"),
        ([OPEN, b"\x05\x05\x00\x01" + bytes(6)], r"could not reach the server \(reply 5\)"),
        ([OPEN, b"\x05\x00\x00\x01\x7f"], "closed the connection"),
        ([OPEN, b"\x05\x00\x00\x03\xff" + b"a" * 20], "closed the connection"),
    ],
    ids=repr,
)
def test_proxy_that_refuses_or_is_none(
    replies: list[bytes],
    detail: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)

    def handle(connection: socket.socket, number: int) -> None:
        for reply in replies:
            connection.recv(1000)
            connection.sendall(reply)
        connection.shutdown(socket.SHUT_RDWR)

    with serving(handle) as proxy_url:
        monkeypatch.setenv("ALL_PROXY", proxy_url.replace("http://", f"socks5://joe:{PASSWORD}@"))
        with client() as http, pytest.raises(RemoteConnectionError, match=detail) as caught:
            post(http, "http://sam2.test")
    assert PASSWORD not in str(caught.value) + caplog.text


def test_proxy_that_drips_is_given_up_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()

    def handle(connection: socket.socket, number: int) -> None:
        connection.sendall(OPEN + b"\x05\x00\x00\x03\xff")
        while not over.wait(0.02):
            connection.sendall(b"a")

    with serving(handle) as proxy_url:
        monkeypatch.setenv("ALL_PROXY", proxy_url.replace("http", "socks5"))
        with client() as http, pytest.raises(RemoteTimeoutError):
            post(http, "http://sam2.test", seconds=0.3)
        over.set()


def test_connections_of_failed_handshakes_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = threading.Event()

    def handle(connection: socket.socket, number: int) -> None:
        connection.recv(1000)
        connection.sendall(b"\x05\xff")
        assert connection.recv(1000) == b""
        closed.set()

    with serving(handle) as proxy_url:
        monkeypatch.setenv("ALL_PROXY", proxy_url.replace("http", "socks5"))
        with client() as http:
            with pytest.raises(RemoteError) as caught:
                post(http, "http://sam2.test")
            assert closed.wait(30)  # while the error is still there
            assert caught.value is not None
