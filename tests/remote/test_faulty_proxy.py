"""The proxy against a server that echoes: each fault as a client sees it, and the end."""

from __future__ import annotations

import json
import math
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import Any

import httpx
import pytest

from tests.remote.faulty_proxy import (
    DROP,
    HTML,
    NOT_HTTP,
    NOT_JSON,
    RESET,
    RESET_IN_BODY,
    TRUNCATE,
    Fault,
    FaultyProxy,
    status,
)


class Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        answer = {"method": self.command, "path": self.path, "body": body, "score": 0.5}
        content = json.dumps(answer).encode()
        self.send_response(201 if self.path == "/made" else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("X-Key", self.headers.get("X-Key", ""))
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST  # noqa: N815 - the name that is looked for

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class EchoServer(ThreadingTCPServer):
    request_queue_size = 128


@pytest.fixture(autouse=True)
def no_thread_stays() -> Iterator[None]:
    """Hold it for every test: this is set up before the other fixtures, and ends after them."""
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


@pytest.fixture
def upstream() -> Iterator[str]:
    with EchoServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with httpx.Client(trust_env=False, timeout=30) as client:
        yield client


def always(fault: Fault | None) -> Any:
    return lambda number, path: fault


def test_without_a_fault_the_answer_is_the_server_s(upstream: str, client: httpx.Client) -> None:
    with FaultyProxy(upstream, always(None)) as proxy:
        made = client.post(f"{proxy.url}/made?a=1", content=b"x" * 100_000)
        got = client.get(f"{proxy.url}/made", headers={"X-Key": "k"})
    assert made.status_code == 200
    assert made.json()["path"] == "/made?a=1"
    assert made.json()["body"] == "x" * 100_000
    assert got.status_code == 201
    assert got.json()["method"] == "GET"
    assert got.headers["X-Key"] == "k"
    assert got.headers.get_list("Content-Length") == [str(len(got.content))]


def test_a_path_of_the_server_is_kept(upstream: str, client: httpx.Client) -> None:
    with FaultyProxy(f"{upstream}/base/", always(None)) as proxy:
        assert client.get(f"{proxy.url}/made").json()["path"] == "/base/made"


def test_the_log_has_every_request_and_its_fault(upstream: str, client: httpx.Client) -> None:
    def plan(number: int, path: str) -> Fault | None:
        return status(503) if (number, path) == (1, "/b") else None

    with FaultyProxy(upstream, plan) as proxy:
        answers = [
            client.post(f"{proxy.url}{path}", content=path[1:], headers={"X-Key": "k"})
            for path in ("/a", "/b", "/b")
        ]
    assert [answer.status_code for answer in answers] == [200, 503, 200]
    assert [received[:4] for received in proxy.log] == [
        (0, "/a", None, b"a"),
        (1, "/b", status(503), b"b"),
        (2, "/b", None, b"b"),
    ]
    assert proxy.log[0].headers["x-key"] == "k"


@pytest.mark.parametrize("fault", [None, status(500), Fault(rewrite=lambda answer: answer)])
def test_a_connection_is_kept(upstream: str, client: httpx.Client, fault: Fault | None) -> None:
    with FaultyProxy(upstream, always(fault)) as proxy:
        ports = {
            client.get(proxy.url).extensions["network_stream"].get_extra_info("client_addr")
            for _ in range(3)
        }
    assert len(ports) == 1


BROKEN = {
    "dropped": (DROP, httpx.RemoteProtocolError),
    "reset": (RESET, httpx.ReadError),
    "body cut short": (TRUNCATE, httpx.RemoteProtocolError),
    "reset in the body": (RESET_IN_BODY, httpx.ReadError),
    "not HTTP": (NOT_HTTP, httpx.RemoteProtocolError),
    # An answer longer than the socket's buffers is broken in the same way.
    "long, reset": (
        Fault(rewrite=lambda answer: "x" * 10_000_000, cut="body", reset=True),
        httpx.ReadError,
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_connection_is_an_error_and_the_next_is_whole(
    upstream: str, client: httpx.Client, name: str
) -> None:
    fault, error = BROKEN[name]
    with FaultyProxy(upstream, lambda number, path: fault if number == 0 else None) as proxy:
        with pytest.raises(error):
            client.post(proxy.url, content=b"1")
        assert client.post(proxy.url, content=b"2").json()["body"] == "2"
    assert [received.body for received in proxy.log] == [b"1", b"2"]


@pytest.mark.parametrize("fault", [TRUNCATE, RESET_IN_BODY])
def test_headers_and_half_of_the_body_come_before_the_cut(
    upstream: str, client: httpx.Client, fault: Fault
) -> None:
    parts: list[bytes] = []
    with (
        FaultyProxy(upstream, always(fault)) as proxy,
        client.stream("GET", proxy.url) as answer,
        pytest.raises(httpx.TransportError),
    ):
        parts.extend(answer.iter_raw())
    assert answer.status_code == 200
    assert len(b"".join(parts)) == int(answer.headers["Content-Length"]) // 2


@pytest.mark.parametrize("code", [302, 401, 403, 404, 413, 422, 429, 500, 502, 503, 504, 529])
def test_a_status_has_its_content_and_headers(
    upstream: str, client: httpx.Client, code: int
) -> None:
    fault = status(code, {"message": "no"}, Retry_After="7", Location="http://127.0.0.1:1/")
    with FaultyProxy(upstream, always(fault)) as proxy:
        answer = client.post(proxy.url, json={})
    assert answer.status_code == code
    assert answer.json() == {"message": "no"}
    assert answer.headers["Retry-After"] == "7"
    assert answer.headers["Location"] == "http://127.0.0.1:1/"


@pytest.mark.parametrize(("fault", "kind"), [(NOT_JSON, "application/json"), (HTML, "text/html")])
def test_an_answer_may_be_no_json(
    upstream: str, client: httpx.Client, fault: Fault, kind: str
) -> None:
    with FaultyProxy(upstream, always(fault)) as proxy:
        answer = client.get(proxy.url)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == kind
    with pytest.raises(ValueError):  # noqa: PT011 - JSON's or Unicode's
        answer.json()


def test_an_answer_is_rewritten(upstream: str, client: httpx.Client) -> None:
    fault = Fault(rewrite=lambda answer: {"path": answer["path"], "score": math.nan})
    with FaultyProxy(upstream, always(fault)) as proxy:
        answer = client.get(f"{proxy.url}/made")
    assert answer.status_code == 201
    assert answer.text == '{"path": "/made", "score": NaN}'


@pytest.mark.parametrize("part", ["headers", "body"])
def test_a_trickled_answer_is_whole(upstream: str, client: httpx.Client, part: Any) -> None:
    with FaultyProxy(upstream, always(Fault(trickle=part, pause_s=0.0001))) as proxy:
        assert client.post(proxy.url, content=b"all").json()["body"] == "all"


@pytest.mark.parametrize(("part", "ending"), [("headers", b"H"), ("body", b"\r\n\r\n{")])
def test_a_trickled_part_comes_byte_by_byte(upstream: str, part: Any, ending: bytes) -> None:
    with FaultyProxy(upstream, always(Fault(trickle=part, pause_s=600))) as proxy:
        address = ("127.0.0.1", int(proxy.url.rpartition(":")[2]))
        with socket.create_connection(address, timeout=30) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: proxy\r\n\r\n")
            came = b""
            while not came.endswith(ending):
                came += connection.recv(1000)
            connection.setblocking(False)
            with pytest.raises(BlockingIOError):
                connection.recv(1)


def test_a_delayed_answer_comes_later(upstream: str, client: httpx.Client) -> None:
    with FaultyProxy(upstream, always(Fault(delay_s=0.01))) as proxy:
        assert client.post(proxy.url, content=b"late").json()["body"] == "late"


SOON = httpx.Timeout(30, read=0.2)  # only the answer is not waited for
STALLS = {
    "delay": Fault(delay_s=600),
    "headers": Fault(trickle="headers", pause_s=600),
    "body": Fault(trickle="body", pause_s=600),
}


@pytest.mark.parametrize("name", STALLS)
def test_an_answer_under_way_does_not_hold_the_end_up(
    upstream: str, client: httpx.Client, name: str
) -> None:
    with FaultyProxy(upstream, always(STALLS[name])) as proxy, pytest.raises(httpx.ReadTimeout):
        client.get(proxy.url, timeout=SOON)


def test_a_silent_server_does_not_hold_the_end_up(client: httpx.Client) -> None:
    # Nobody accepts: the connection waits in the queue of a socket that listens.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with FaultyProxy(url, always(None)) as proxy, pytest.raises(httpx.ReadTimeout):
            client.get(proxy.url, timeout=SOON)


def test_many_requests_at_once(upstream: str, client: httpx.Client) -> None:
    def plan(number: int, path: str) -> Fault | None:
        return status(503) if number % 4 == 0 else None

    def code(text: bytes) -> int:
        return client.post(proxy.url, content=text).status_code

    texts = [b"%d" % number for number in range(80)]
    with FaultyProxy(upstream, plan) as proxy, ThreadPoolExecutor(16) as pool:
        codes = list(pool.map(code, texts))
    assert sorted(codes) == [200] * 60 + [503] * 20
    assert [received.number for received in proxy.log] == list(range(80))
    assert sorted(received.body for received in proxy.log) == sorted(texts)


def test_a_server_that_is_gone_drops_the_connection(client: httpx.Client) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        url = f"http://127.0.0.1:{gone.getsockname()[1]}"
    with FaultyProxy(url, always(None)) as proxy, pytest.raises(httpx.RemoteProtocolError):
        client.get(proxy.url)


def test_a_mistake_in_a_plan_reaches_the_test(upstream: str, client: httpx.Client) -> None:
    def plan(number: int, path: str) -> Fault | None:
        raise LookupError("no plan")

    def ask() -> None:
        with FaultyProxy(upstream, plan) as proxy, pytest.raises(httpx.RemoteProtocolError):
            client.get(proxy.url)

    with pytest.raises(LookupError, match="no plan"):
        ask()
