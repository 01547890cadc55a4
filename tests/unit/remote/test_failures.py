from __future__ import annotations

import json
import ssl
from typing import Any

import httpx
import pytest

from sam2_block.backends.remote.endpoints import Endpoint
from sam2_block.backends.remote.http.failures import (
    error_of_status,
    error_of_transport,
    may_refuse_format,
)
from sam2_block.backends.remote.http.retry import TRANSIENT_STATUSES
from sam2_block.errors import (
    RemoteConnectionError,
    RemoteError,
    RemoteResponseError,
    RemoteStatusError,
    RemoteTimeoutError,
)

KEY = "rf-k3y/+\u00e4"
ENDPOINT = Endpoint("http://sam2.test", KEY, "the step's api_key")


def error_of(status: int, content: Any = b"") -> RemoteStatusError:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return error_of_status(ENDPOINT, status, body, 3.0)


@pytest.mark.parametrize(
    ("status", "meaning"),
    [
        (400, "it cannot use the request."),
        (422, "it cannot use the request."),
        (401, "it does not accept the key (the step's api_key)."),
        (403, "it does not accept the key (the step's api_key)."),
        (
            404,
            "SAM 2 is not enabled there. On your own server set CORE_MODEL_SAM2_ENABLED=True;"
            " otherwise check the URL.",
        ),
        (
            413,
            "the image is too large for it. Send JPEG (SAM2_BLOCK_UPLOAD_FORMAT=jpeg), or resize or"
            " slice the image.",
        ),
        (429, "too many requests. Lower SAM2_BLOCK_MAX_CONCURRENT_REQUESTS, or wait."),
        (307, "redirects are not followed, because the key is meant for this server only."),
        (500, "it failed."),
        (599, "it failed."),
        (204, "expected 200."),
        (418, "expected 200."),
    ],
)
def test_status_says_what_to_do(status: int, meaning: str) -> None:
    error = error_of(status, {"message": "So it is."})
    assert (
        str(error) == f"http://sam2.test returned status {status}: {meaning} Its message: So it is."
    )
    assert (error.status, error.detail, error.retry_after_s) == (status, "So it is.", 3.0)
    assert str(error_of(status)) == f"http://sam2.test returned status {status}: {meaning}"


def test_what_may_pass_is_transient_and_nothing_else() -> None:
    transient = {status for status in range(201, 600) if error_of(status).transient}
    assert transient == TRANSIENT_STATUSES


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", ""),
        (b"  \n ", ""),
        (b"upstream\n\tbroke  down", "upstream broke down"),
        # A page of a proxy says nothing to a person.
        (b"<html><body>Bad gateway</body></html>", ""),
        (b"\n <!doctype html>", ""),
        ({"message": "no"}, "no"),
        ({"detail": "no"}, "no"),
        ({"message": "", "detail": "no"}, "no"),
        ({"message": None, "detail": None}, ""),
        ({"error": "no"}, ""),
        ({"detail": {"reason": "no"}}, "{'reason': 'no'}"),
        ({"detail": []}, ""),
        (
            {"detail": [{"loc": ["body", "image"], "msg": "Field required"}]},
            "body.image: Field required",
        ),
        ({"detail": [{"loc": ["a"], "msg": "x"}, {"loc": ["b", 1], "msg": "y"}]}, "a: x; b.1: y"),
        # Nothing that is not as FastAPI writes it is an error of its own.
        ({"detail": ["x", 3, None]}, ""),
        ({"detail": [{}]}, ":"),
        ({"detail": [{"loc": "body", "msg": ["x"]}]}, ": ['x']"),
        (["a", "b"], "['a', 'b']"),
        ("no", "no"),
        (b"null", ""),
        (b"\xff\xfe\x00", "\ufffd\ufffd"),
        (b"[" * 100_000, "[" * 297 + "..."),
        (b"1" * 5000, "1" * 297 + "..."),
        ({"message": "x" * 300}, "x" * 300),
        ({"message": "x" * 301}, "x" * 297 + "..."),
        # What steers a terminal or fakes a line of a log.
        ({"message": "a\x1b[31m\x00b\r\nERROR c\u2028d\u202ee"}, "a [31m b ERROR c d e"),
    ],
)
def test_words_of_the_server(body: Any, words: str) -> None:
    error = error_of(400, body)
    assert error.detail == words
    assert str(error) == "http://sam2.test returned status 400: it cannot use the request." + (
        f" Its message: {words}" if words else ""
    )


@pytest.mark.parametrize("depth", [500, 900, 960, 990, 5000])
def test_words_as_deep_as_a_server_likes(depth: int) -> None:
    body = b'{"detail": ' + b"[" * depth + b"]" * depth + b"}"
    wrapped = b'{"detail": {"a": ' + b"[" * depth + b"]" * depth + b"}}"
    for content in (body, wrapped, body[11:-1]):
        assert len(error_of(500, content).detail) <= 300


@pytest.mark.parametrize(
    ("place", "index"),
    [
        (["body", "prompts", "prompts", 3, "box", "width"], 3),
        (["body", "prompts", 0], 0),
        (["body", "prompts", "list[Sam2Prompt]", 2, "points", 7, "x"], 2),
        # An index of something else is none of a prompt.
        (["body", 7, "prompts", 3], 3),
        (["body", "image", 3], None),
        (["body", "prompts"], None),
        (["prompts", -1], None),
        (["prompts", True], None),
        (["prompts", 1.0], None),
        ("prompts", None),
        (None, None),
    ],
)
def test_index_of_the_prompt(place: Any, index: int | None) -> None:
    assert error_of(422, {"detail": [{"loc": place, "msg": "bad"}]}).prompt_index == index
    first = {"loc": ["body", "image"], "msg": "bad"}
    both = error_of(422, {"detail": [first, {"loc": place, "msg": "bad"}]})
    assert both.prompt_index == index


@pytest.mark.parametrize(
    "body",
    [
        f"no such key: {KEY}".encode(),
        {"message": f"no such key: {KEY}"},
        {"detail": {"input": {"api_key": KEY}}},
        {"detail": [{"loc": ["body", KEY], "msg": "x"}, {"loc": [], "msg": f"{KEY} is bad"}]},
        [KEY],
        KEY,
        # Spelled otherwise, and the same once it is read.
        b'{"message": "no such key: rf-k\\u0033y\\/+\\u00e4"}',
        b'["rf-k\\u0033y\\/+\\u00e4"]',
        # Where the end of what is shown would cut it in two.
        {"message": "x" * 293 + KEY},
        b"x" * 290 + KEY.encode(),
    ],
)
@pytest.mark.parametrize("status", [401, 422, 500])
def test_server_that_repeats_the_key(status: int, body: Any) -> None:
    error = error_of(status, body)
    for text in (str(error), repr(error), error.detail, repr(error.args)):
        assert KEY not in text
        assert "rf-k" not in text
    assert "***" in error.detail or error.detail.endswith("...")


@pytest.mark.parametrize(
    ("detail", "refused"),
    [
        ("Invalid format rle", True),
        ("body.format: Input should be 'json' or 'binary'", True),
        ("Format not supported", True),
        # Words that only sound like it.
        ("For more information see the docs", False),
        ("Model is being transformed", False),
        ("Internal error.", False),
        ("", False),
    ],
)
def test_refusal_of_the_format(detail: str, refused: bool) -> None:
    error = error_of(500, {"message": detail})
    assert error.refuses_format is refused
    # The same request would be refused again.
    assert error.transient is not refused
    # A failure without a reason may be that, too.
    assert may_refuse_format(error) is (refused or detail in ("", "Internal error."))
    assert not error_of(401, {"message": detail}).refuses_format


@pytest.mark.parametrize(
    ("status", "detail", "meaning", "transient"),
    [
        (404, "Not Found", "SAM 2 is not enabled there", False),
        (500, "Service misconfiguration.", "SAM 2 is not enabled there", False),
        (
            500,
            "Could not retrieve model No record found for model 'sam2/segment_image'.",
            "SAM 2 is not enabled there",
            False,
        ),
        (
            500,
            "Could not retrieve model No record found for model 'sam2/hiera_small'.",
            "it does not have this version of SAM 2",
            False,
        ),
        # Of a gateway: the path in its words is only that.
        (504, "upstream /sam2/segment_image timed out", "it failed", True),
        (500, "CUDA out of memory", "it failed", True),
    ],
)
def test_failure_that_lasts_is_told_from_one_that_passes(
    status: int, detail: str, meaning: str, transient: bool
) -> None:
    error = error_of(status, {"message": detail})
    assert meaning in str(error)
    assert error.transient is transient


def certificate_error() -> httpx.ConnectError:
    cause = ssl.SSLCertVerificationError("certificate verify failed")
    cause.verify_message = "self-signed certificate"
    middle = OSError("handshake")
    middle.__context__ = cause
    error = httpx.ConnectError("failed")
    error.__cause__ = middle
    return error


@pytest.mark.parametrize(
    ("raised", "kind", "transient", "message"),
    [
        (
            httpx.ConnectTimeout("slow"),
            RemoteTimeoutError,
            True,
            "http://sam2.test did not accept the connection within 10 s. Is a server running"
            " there?",
        ),
        *(
            (
                error("slow"),
                RemoteTimeoutError,
                True,
                f"http://sam2.test sent nothing for too long ({error.__name__}). A"
                " SAM2_BLOCK_DEADLINE_S above 180 permits longer waits.",
            )
            for error in (httpx.ReadTimeout, httpx.WriteTimeout, httpx.PoolTimeout)
        ),
        (
            httpx.ConnectError("[Errno 111] refused"),
            RemoteConnectionError,
            True,
            "no connection to http://sam2.test ([Errno 111] refused). Is a server running there?",
        ),
        (
            httpx.ReadError(""),
            RemoteConnectionError,
            True,
            "the connection to http://sam2.test broke (ReadError: ReadError).",
        ),
        (
            httpx.RemoteProtocolError(f"illegal status line: '{KEY}'" + " x" * 500),
            RemoteConnectionError,
            True,
            "the connection to http://sam2.test broke (RemoteProtocolError: "
            + ("illegal status line: '***'" + " x" * 500)[:297]
            + "...).",
        ),
        (
            certificate_error(),
            RemoteConnectionError,
            False,
            "the certificate of http://sam2.test was not accepted (self-signed certificate). Check"
            " the URL; for your own certificate set SSL_CERT_FILE.",
        ),
        (
            httpx.DecodingError("incorrect header check"),
            RemoteResponseError,
            False,
            "http://sam2.test sent a response that cannot be decompressed"
            " (incorrect header check).",
        ),
        (
            httpx.InvalidURL("bad"),
            RemoteConnectionError,
            False,
            "no request can be sent to http://sam2.test (InvalidURL: bad).",
        ),
    ],
)
def test_failure_of_the_transport(
    raised: Exception, kind: type[RemoteError], transient: bool, message: str
) -> None:
    error = error_of_transport(ENDPOINT, raised)
    assert (type(error), error.transient, str(error)) == (kind, transient, message)
    assert error.retry_after_s is None
