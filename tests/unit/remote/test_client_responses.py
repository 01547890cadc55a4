"""What the client makes of failures on the way, and of answers that are none."""

from __future__ import annotations

import gzip
import inspect
import ssl
import zlib
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from sam2_block.backends.remote.endpoints import Endpoint
from sam2_block.backends.remote.http.client import HttpClient
from sam2_block.backends.remote.http.retry import Deadline, RetryPolicy
from sam2_block.errors import (
    RemoteConnectionError,
    RemoteError,
    RemoteResponseError,
    RemoteTimeoutError,
)
from sam2_block.settings import RemoteSettings
from tests.unit.remote.scripted_server import URL, Clock, Post, Server, ok

TIMEOUT, CONNECTION, ANSWER = RemoteTimeoutError, RemoteConnectionError, RemoteResponseError
# Every failure that httpx documents -> what it becomes, and whether it is tried again.
FAILURES: dict[str, tuple[type[RemoteError], bool]] = {
    "ConnectTimeout": (TIMEOUT, True),
    "ReadTimeout": (TIMEOUT, True),
    "WriteTimeout": (TIMEOUT, True),
    "PoolTimeout": (TIMEOUT, True),
    "TimeoutException": (TIMEOUT, True),
    "ConnectError": (CONNECTION, True),
    "ReadError": (CONNECTION, True),
    "WriteError": (CONNECTION, True),
    "CloseError": (CONNECTION, True),
    "NetworkError": (CONNECTION, True),
    "ProxyError": (CONNECTION, True),
    "ProtocolError": (CONNECTION, True),
    "LocalProtocolError": (CONNECTION, True),
    "RemoteProtocolError": (CONNECTION, True),
    "UnsupportedProtocol": (CONNECTION, True),
    "TransportError": (CONNECTION, True),
    "DecodingError": (ANSWER, False),
    # None of these can come of what is sent here; if one does, trying again helps nobody.
    "TooManyRedirects": (CONNECTION, False),
    "RequestError": (CONNECTION, False),
    "HTTPStatusError": (CONNECTION, False),
    "HTTPError": (CONNECTION, False),
    "InvalidURL": (CONNECTION, False),
    "StreamError": (CONNECTION, False),
    "StreamConsumed": (CONNECTION, False),
    "StreamClosed": (CONNECTION, False),
    "ResponseNotRead": (CONNECTION, False),
    "RequestNotRead": (CONNECTION, False),
}


def failure(name: str) -> Exception:
    kind = getattr(httpx, name)
    request = httpx.Request("POST", URL)
    known = {"message": "boom", "request": request, "response": httpx.Response(500)}
    return kind(**{name: known[name] for name in inspect.signature(kind).parameters})


def test_every_failure_of_httpx_is_thought_of() -> None:
    roots = (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError)
    public = {name for name in httpx.__all__ if inspect.isclass(getattr(httpx, name))}
    assert set(FAILURES) == {name for name in public if issubclass(getattr(httpx, name), roots)}


@pytest.mark.parametrize("name", FAILURES)
@pytest.mark.parametrize("in_the_answer", [False, True])
def test_failure_of_httpx_is_an_error_of_this_package(
    name: str, in_the_answer: bool, post: Post, clock: Clock
) -> None:
    def broken() -> Iterator[bytes]:
        yield b'{"fine"'
        raise failure(name)

    def answer(request: httpx.Request) -> httpx.Response | Exception:
        return httpx.Response(200, content=broken()) if in_the_answer else failure(name)

    kind, again = FAILURES[name]
    server = Server(answer)
    with pytest.raises(RemoteError) as caught:
        post(server, max_attempts=3)
    assert (type(caught.value), caught.value.transient) == (kind, again)
    assert URL in str(caught.value)
    assert len(server.requests) == (3 if again else 1)


def test_broken_connection_is_tried_again(post: Post, clock: Clock) -> None:
    server = Server(failure("ConnectError"), failure("ReadTimeout"), ok())
    assert post(server) == {"fine": True}
    assert clock.sleeps == [0.5, 1.0]


def test_certificate_is_not_tried_again(post: Post, clock: Clock) -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        cause = ssl.SSLCertVerificationError("certificate verify failed")
        cause.verify_message = "certificate has expired"
        raise httpx.ConnectError("ssl") from cause

    server = Server(refuse)
    with pytest.raises(RemoteConnectionError) as caught:
        post(server)
    assert str(caught.value) == (
        f"the certificate of {URL} was not accepted (certificate has expired). Check the URL; for"
        " your own certificate set SSL_CERT_FILE."
    )
    assert (len(server.requests), clock.sleeps) == (1, [])


@pytest.mark.parametrize("host", ["xn--bch-4azz.test", "xn--0.test", "a" * 64 + ".test", "a..b"])
def test_name_that_is_no_name(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    # Over the network's own transport: the name is what fails, before anything is sent.
    client = HttpClient(RemoteSettings(), retry_policy=RetryPolicy(max_attempts=1))
    with pytest.raises(RemoteConnectionError, match=rf"^no request can be sent to http://{host} "):
        client.post(Endpoint(f"http://{host}"), "/x", {}, Deadline(10))
    client.close()


NOT_JSON = f"{URL} sent a response that is not JSON. Is it an inference server?"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<!doctype html><p>Sign in</p>",
        b"PK\x03\x04",
        b'{"predictions": [',
        b'{"predictions": []} {}',
        b'{"a": "\xff\xfe"}',
        b"\xff\xfe\x00",
        b"[" * 50_000,
        b'{"a":' * 50_000,
        b"1" * 5000,
    ],
    ids=lambda content: repr(content[:12]),
)
def test_answer_that_is_not_json(content: bytes, post: Post, clock: Clock) -> None:
    server = Server(httpx.Response(200, content=content))
    with pytest.raises(RemoteResponseError) as caught:
        post(server)
    assert str(caught.value) == NOT_JSON
    assert caught.value.__context__ is None
    assert (len(server.requests), clock.sleeps) == (1, [])


@pytest.mark.parametrize(
    ("content", "answer"),
    [
        (b" null\n", None),
        (b"[]", []),
        (b"3", 3),
        ('{"a": "\u00e4"}'.encode("utf-16"), {"a": "\u00e4"}),
        (b"-Infinity", -float("inf")),
    ],
)
def test_any_json_is_an_answer_and_judged_by_others(
    content: bytes, answer: Any, post: Post
) -> None:
    assert post(Server(httpx.Response(200, content=content))) == answer


def packed(content: bytes, *encodings: str) -> httpx.Response:
    """Answer with bytes as they come over the wire, with the encodings that the header names."""
    headers = [("Content-Encoding", encoding) for encoding in encodings]
    return httpx.Response(200, headers=headers, stream=httpx.ByteStream(content))


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (gzip.compress(b'{"fine": 1}', mtime=0), "gzip"),
        (gzip.compress(b'{"fine": 1}', mtime=0), "GZip"),
        (zlib.compress(b'{"fine": 1}'), "deflate"),
        (b'{"fine": 1}', "identity"),
    ],
)
def test_packed_answer(content: bytes, encoding: str, post: Post) -> None:
    server = Server(packed(content, encoding))
    assert post(server) == {"fine": 1}
    assert server.requests[0].headers["Accept-Encoding"] == "identity, gzip, deflate"


NOT_REQUESTED = "sent a response that cannot be decompressed (an encoding that was not requested)."
TWICE = gzip.compress(gzip.compress(b"{}", mtime=0), mtime=0)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (packed(b"\x1f\x8bnot gzip", "gzip"), "sent a response that cannot be decompressed ("),
        (packed(b"{}", "gzip"), "sent a response that cannot be decompressed ("),
        (packed(b"\xff\xff\xff", "deflate"), "sent a response that cannot be decompressed ("),
        (packed(gzip.compress(b"{}", mtime=0)[:-12], "gzip"), "sent a response that is not JSON."),
        # Kilobytes of these can be gigabytes of answer.
        (packed(TWICE, "gzip, gzip"), NOT_REQUESTED),
        (packed(TWICE, "gzip", "gzip"), NOT_REQUESTED),
        (packed(b"{}", "br"), NOT_REQUESTED),
        (packed(b"{}", "zstd"), NOT_REQUESTED),
    ],
)
def test_answer_packed_badly(answer: httpx.Response, says: str, post: Post, clock: Clock) -> None:
    with pytest.raises(RemoteResponseError) as caught:
        post(Server(answer))
    assert str(caught.value).startswith(f"{URL} {says}")
    assert clock.sleeps == []
