"""The key goes into the body of requests, and nowhere else, whatever a server does with it."""

from __future__ import annotations

import gzip
import json
import logging
import socket
import ssl
import threading
import traceback
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import numpy as np
import pytest

from sam2_block import process_state
from sam2_block.backends.remote.endpoints import Endpoint, choose_endpoint
from sam2_block.backends.remote.http.client import HttpClient
from sam2_block.backends.remote.http.retry import Deadline, RetryPolicy
from sam2_block.errors import RemoteError, RemoteStatusError
from sam2_block.segmenter import Segmenter
from sam2_block.settings import AccessSettings, RemoteSettings
from tests.unit.remote.raw_server import client, post, read_request, response, serving
from tests.unit.remote.scripted_server import Post, Server, Transport, ok

# Never written as one word in a call: a traceback shows the source of its lines.
KEY = "k3y" * 5


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Log all that there is to log: this package's, httpx's and httpcore's."""
    for name in ("", "sam2_block", "httpx", "httpcore"):
        caplog.set_level(logging.DEBUG, logger=name)
    return caplog


def chain_of(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        yield from chain_of(error.__cause__)
        error = error.__context__


def texts_of(error: BaseException, log: pytest.LogCaptureFixture) -> Iterator[str]:
    """Yield all that a person may get to see of an error, and what went before it."""
    for link in chain_of(error):
        yield from (str(link), repr(link), repr(link.args), repr(vars(link)))
    yield from traceback.format_exception(error)
    for record in log.records:
        yield from (record.getMessage(), repr(record.args), str(record.exc_info))


def raises(kind: type[Exception]) -> Callable[[httpx.Request], Exception]:
    """Fail as httpx does when it quotes what it received: with a cause that quotes it as well."""

    def answer(request: httpx.Request) -> Exception:
        said = request.content.decode()
        error = kind(f"illegal status line: {said!r}")
        error.__cause__ = ValueError(said)
        return error

    return answer


def echo(status: int, wrap: Callable[[str], str] = str, **headers: str) -> Callable[..., object]:
    def answer(request: httpx.Request) -> httpx.Response:
        key = json.loads(request.content)["api_key"]
        return httpx.Response(status, content=wrap(key).encode(), headers=headers)

    return answer


def escaped(key: str) -> str:
    return json.dumps({"message": "*"}).replace("*", "".join(f"\\u{ord(c):04x}" for c in key))


def certificate(request: httpx.Request) -> Exception:
    error = httpx.ConnectError(request.content.decode())
    error.__cause__ = ssl.SSLCertVerificationError(request.content.decode())
    error.__cause__.verify_message = "self-signed certificate"
    return error


LEAKS = {
    "plain": echo(403),
    "json": echo(401, lambda key: json.dumps({"message": f"bad key {key}"})),
    "escapes": echo(401, escaped),
    "detail": echo(422, lambda key: json.dumps({"detail": {"input": {"api_key": key}}})),
    "place": echo(422, lambda key: json.dumps({"detail": [{"loc": [key], "msg": key}]})),
    "cut in two": echo(500, lambda key: "x" * 290 + key),
    "page": echo(502, lambda key: f"<html>{key}</html>"),
    "tried again": echo(503, lambda key: f"busy with {key}"),
    "deadline": echo(503, lambda key: f"busy with {key}", **{"Retry-After": "99999"}),
    "redirect": lambda request: httpx.Response(307, headers={"Location": f"http://x/{KEY}"}),
    "no json": echo(200),
    "bytes": lambda request: httpx.Response(200, content=b'{"a": "\xff' + request.content),
    "html": echo(200, lambda key: f"<html>{key}</html>"),
    "no gzip": echo(200, **{"Content-Encoding": "gzip"}),
    "cookie": lambda request: httpx.Response(400, headers={"Set-Cookie": f"key={KEY}"}),
    "status line": raises(httpx.RemoteProtocolError),
    "refused": raises(httpx.ConnectError),
    "slow": raises(httpx.ReadTimeout),
    "bad url": raises(httpx.InvalidURL),
    "encoding": raises(httpx.DecodingError),
    "other": raises(httpx.RequestError),
    "certificate": certificate,
}


@pytest.mark.parametrize("name", LEAKS)
def test_key_is_in_no_error_and_in_no_log(
    name: str, post: Post, log: pytest.LogCaptureFixture
) -> None:
    server = Server(LEAKS[name])
    with pytest.raises(RemoteError) as caught:
        post(server, key=KEY, max_attempts=3, seconds=100)
    texts = list(texts_of(caught.value, log))
    assert not [text for text in texts if KEY in text]
    # Nor a part of it.
    assert not [text for text in texts if KEY[:7] in text]
    for request in server.requests:
        assert KEY in request.content.decode()
        assert KEY not in str(request.url)
        assert KEY not in repr(request.headers.raw)


def test_log_says_what_is_tried_again(post: Post, log: pytest.LogCaptureFixture) -> None:
    post(Server(LEAKS["tried again"], ok()), key=KEY, backoff_s=2)
    own = [record.getMessage() for record in log.records if record.name.startswith("sam2_block")]
    assert own == [
        "attempt 1 of /sam2/x failed, waiting 2.0 s: http://sam2.test/prefix returned status"
        " 503: it failed. Its message: busy with ***"
    ]


def test_no_cookie_of_one_caller_goes_with_the_request_of_another() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return ok(**{"Set-Cookie": "session=callers-own; Path=/"})

    server = Server(answer)
    client = HttpClient(RemoteSettings(), transport=Transport(server))
    for key in (KEY, "another"):
        client.post(Endpoint("http://sam2.test", key), "/x", {}, Deadline(1000))
    assert [request.headers.get("Cookie") for request in server.requests] == [None, None]
    client.close()


class EchoHandler(BaseHTTPRequestHandler):
    """Answers 500 with the request's body, in gzip."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = gzip.compress(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(500)
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def echo_url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("NO_PROXY", "*")
    with ThreadingHTTPServer(("127.0.0.1", 0), EchoHandler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_key_is_not_in_what_httpx_logs_of_a_real_connection(
    echo_url: str, log: pytest.LogCaptureFixture
) -> None:
    settings = AccessSettings(api_url=echo_url, api_key=KEY)
    client = HttpClient(RemoteSettings(), retry_policy=RetryPolicy(max_attempts=1))
    with pytest.raises(RemoteError, match="returned status 500: it failed") as caught:
        client.post(choose_endpoint(settings, None, None), "/sam2/x", {}, Deadline(30))
    client.close()
    loggers = {record.name.partition(".")[0] for record in log.records}
    assert loggers >= {"httpx", "httpcore"}
    assert not [text for text in texts_of(caught.value, log) if KEY in text]


def in_hex(key: str) -> str:
    return key.encode().hex()


ECHOES: dict[str, Callable[[str], str]] = {
    "reason phrase": lambda said: f"HTTP/1.1 200 {said}\r\nContent-Length: 2\r\n\r\n{{}}",
    "header": lambda said: f"HTTP/1.1 200 OK\r\nX-Key: {said}\r\nContent-Length: 2\r\n\r\n{{}}",
    "name of a header": lambda said: (
        f"HTTP/1.1 200 OK\r\n{said}: x\r\nContent-Length: 2\r\n\r\n{{}}"
    ),
    "interim response": lambda said: (
        f"HTTP/1.1 103 {said}\r\nLink: {said}\r\n\r\n"
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
    ),
    "cookie": lambda said: (
        f"HTTP/1.1 200 OK\r\nSet-Cookie: a={said}\r\nContent-Length: 2\r\n\r\n{{}}"
    ),
    "redirect": lambda said: (
        f"HTTP/1.1 307 Moved\r\nLocation: http://x/{said}\r\nContent-Length: 0\r\n\r\n"
    ),
    "no status line": lambda said: f"{said}\r\n\r\n",
    "no header": lambda said: f"HTTP/1.1 200 OK\r\n{said}\r\n\r\n",
    "length": lambda said: f"HTTP/1.1 200 OK\r\nContent-Length: {said}\r\n\r\n",
    "chunk": lambda said: f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{said}\r\n",
    "body": lambda said: f"HTTP/1.1 400 No\r\nContent-Length: {len(said)}\r\n\r\n{said}",
    "after the response": lambda said: f"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{{}}{said}",
}


@pytest.mark.parametrize("name", ECHOES)
@pytest.mark.parametrize("form", [str, in_hex], ids=["as it is", "in hex"])
def test_server_that_repeats_the_key_gets_it_into_no_log(
    name: str, form: Callable[[str], str], log: pytest.LogCaptureFixture
) -> None:
    """Whatever httpx and httpcore log at DEBUG, and however the server writes the key."""

    def handle(connection: socket.socket, number: int) -> None:
        body = read_request(connection)
        connection.sendall(ECHOES[name](form(body["api_key"])).encode())
        connection.shutdown(socket.SHUT_RDWR)

    texts: list[str] = []
    with serving(handle) as url, client() as http:
        for _ in range(2):
            try:
                post(http, url, KEY)
            except RemoteError as error:
                texts += texts_of(error, log)
    texts += (text for record in log.records for text in (record.getMessage(), repr(vars(record))))
    loggers = {record.name.partition(".")[0] for record in log.records}
    assert "httpcore" in loggers
    # Only what an error quotes on purpose may hold another form of the key.
    words = KEY if form is str or name == "body" else form(KEY)
    assert not [text for text in texts if words in text]


def test_log_lines_of_others_are_left_alone(log: pytest.LogCaptureFixture) -> None:
    """The process may use httpx for something else."""

    def handle(connection: socket.socket, number: int) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 Fine\r\nX-Theirs: theirs\r\nContent-Length: 2\r\n\r\n{}")

    with serving(handle) as url, client() as http:
        post(http, url, KEY)
        log.clear()
        httpx.post(url, json={}, trust_env=False)
    assert "200 Fine" in log.text
    assert "X-Theirs" in log.text


@pytest.mark.parametrize(
    "key", ["mask", "mask format", "Internal", "sam2", "a", "1", "error", "message"]
)
@pytest.mark.parametrize("status", [404, 422, 500])
def test_ordinary_key_changes_nothing_that_is_decided(key: str, status: int, post: Post) -> None:
    """It is struck out of what is shown, and of nothing that the server's words are read for."""

    def error(of: str | None, words: str) -> RemoteStatusError:
        server = Server(httpx.Response(status, json={"message": words}))
        with pytest.raises(RemoteStatusError) as caught:
            post(server, key=of, max_attempts=1)
        return caught.value

    for words in ("Invalid mask format rle", "Internal error.", "model 'sam2/segment_image'"):
        plain, keyed = error("another-key-0123", words), error(key, words)
        assert keyed.transient == plain.transient
        assert keyed.refuses_format == plain.refuses_format
        assert (
            str(keyed).partition(" Its message: ")[0] == str(plain).partition(" Its message: ")[0]
        )


def test_key_of_a_program_is_not_called_the_operators(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROBOFLOW_API_KEY", "operators-0123")
    monkeypatch.setattr(process_state, "SHARED", process_state.SharedObjects())

    def handle(connection: socket.socket, number: int) -> None:
        while (body := read_request(connection)) is not None:
            is_operators = body["api_key"] == "operators-0123"
            connection.sendall(response({}, status="403 No" if is_operators else "401 No"))

    photo = np.zeros((20, 20, 3), np.uint8)
    with serving(handle) as url:
        with (
            Segmenter.remote("hiera_tiny", api_url=url, api_key="programs-0123") as own,
            pytest.raises(RemoteError, match=r"401: .*\(the api_key that was given\)"),
        ):
            own.segment(photo, None, [[5, 5]])
        with (
            Segmenter.remote("hiera_tiny", api_url=url) as operators,
            pytest.raises(RemoteError, match=r"403: .*\(the operator's key, SAM2_BLOCK_API_KEY"),
        ):
            operators.segment(photo, None, [[5, 5]])
