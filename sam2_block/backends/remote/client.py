"""One JSON request to a server, until there is an answer or an error; never without end."""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Callable, Iterator
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpx

from sam2_block.backends.remote.endpoints import Endpoint
from sam2_block.backends.remote.failures import (
    error_of_deadline,
    error_of_status,
    error_of_transport,
)
from sam2_block.backends.remote.places import Places
from sam2_block.backends.remote.retry import Deadline, RetryPolicy, parse_retry_after
from sam2_block.errors import RemoteAnswerError, RemoteError, RemoteTimeoutError, SettingsError
from sam2_block.settings import Settings

logger = logging.getLogger(__name__)

# An answer of RLE masks takes kilobytes. What is larger than this is not one, and is not read.
MAX_ANSWER_BYTES = 256 * 1024**2
_PIECE_BYTES = 256 * 1024
_ENCODINGS = ("identity", "gzip", "deflate")


class HttpClient:
    """Sends requests to any server. Thread-safe; connections are kept for the next request.

    Args:
        settings: The operator's settings.
        transport: In place of the network, for tests.
        sleep: In place of `time.sleep`, for tests.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._connect_timeout_s = settings.connect_timeout_s
        self._read_timeout_s = settings.read_timeout_s
        self._policy = RetryPolicy(
            settings.max_attempts, settings.backoff_s, settings.max_backoff_s
        )
        self._sleep = sleep
        self._places = Places(settings.max_concurrent_requests)
        # Redirects are not followed: the key stays with the host it was meant for. Nor are cookies
        # kept: those of one caller's requests would go with another's.
        try:
            self._http = httpx.Client(
                transport=transport,
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
                follow_redirects=False,
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=64),
            )
        except (ImportError, ValueError, OSError) as error:
            raise SettingsError(
                f"no HTTP client can be made ({type(error).__name__}): check SSL_CERT_FILE,"
                " SSL_CERT_DIR, ALL_PROXY, HTTP_PROXY and HTTPS_PROXY."
            ) from error

    def post(
        self, endpoint: Endpoint, path: str, payload: dict[str, Any], deadline: Deadline
    ) -> Any:
        """Send a request, again where that may help, and return the parsed answer.

        Args:
            endpoint: Who is asked, and with which key.
            path: Path of the endpoint, from the server's URL.
            payload: The body; the key is added to it.
            deadline: When to give up, waits included.

        Raises:
            RemoteError: There is no answer; the class and the message say why.
        """
        if endpoint.api_key is not None:
            payload = {**payload, "api_key": endpoint.api_key}
        body = json.dumps(payload).encode()
        failures = 0
        while True:
            try:
                with self._places.take(endpoint.url, deadline) as taken:
                    if not taken:
                        raise RemoteTimeoutError(
                            f"{endpoint.url} could not be asked within the {deadline.seconds:g} s"
                            " for one image: too many requests are under way"
                            " (SAM2_BLOCK_MAX_CONCURRENT_REQUESTS, SAM2_BLOCK_DEADLINE_S)."
                        )
                    return self._try(endpoint, path, body, deadline)
            except RemoteError as error:
                failures += 1
                wait_s = self._policy.wait_s(failures, error.retry_after_s)
                if not error.transient or wait_s is None:
                    raise
                if wait_s >= deadline.remaining_s():
                    raise RemoteTimeoutError(
                        f"{error} The {deadline.seconds:g} s for one image leave no room for"
                        " another try (SAM2_BLOCK_DEADLINE_S)."
                    ) from error
                logger.info(
                    "try %d of %s failed, waiting %.1f s: %s", failures, path, wait_s, error
                )
                self._sleep(wait_s)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _try(self, endpoint: Endpoint, path: str, body: bytes, deadline: Deadline) -> Any:
        remaining_s = deadline.remaining_s()
        if remaining_s == 0:
            raise error_of_deadline(endpoint.url, deadline)
        timeout = httpx.Timeout(
            min(self._read_timeout_s, remaining_s),
            connect=min(self._connect_timeout_s, remaining_s),
        )
        headers = {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "Accept-Encoding": ", ".join(_ENCODINGS),
        }
        failure: RemoteError | None = None
        try:
            with self._http.stream(
                "POST",
                endpoint.url + path,
                content=_pieces(endpoint, body, deadline),
                headers=headers,
                timeout=timeout,
            ) as response:
                content = _read(endpoint, response, deadline)
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, UnicodeError) as error:
            # `UnicodeError`: a host name that has no international form, such as `xn--0`.
            cut_short = isinstance(error, httpx.TimeoutException) and deadline.remaining_s() == 0
            failure = (
                error_of_deadline(endpoint.url, deadline)
                if cut_short
                else error_of_transport(endpoint, error)
            )
        if failure is not None:
            # Only here, so that no error is chained: it may quote a server that repeats the key.
            raise failure
        if response.status_code != 200:
            wait_s = parse_retry_after(response.headers.get("Retry-After"))
            raise error_of_status(endpoint, response.status_code, content, wait_s)
        with contextlib.suppress(ValueError, RecursionError):
            return json.loads(content)
        raise RemoteAnswerError(
            f"{endpoint.url} answered with something that is not JSON. Is it an inference server?"
        )


def _pieces(endpoint: Endpoint, body: bytes, deadline: Deadline) -> Iterator[bytes]:
    """Yield a body bit by bit: a server that takes it slowly does not get more than its time."""
    for start in range(0, len(body), _PIECE_BYTES):
        if deadline.remaining_s() == 0:
            raise error_of_deadline(endpoint.url, deadline)
        yield body[start : start + _PIECE_BYTES]


def _read(endpoint: Endpoint, response: httpx.Response, deadline: Deadline) -> bytes:
    if response.headers.get("Content-Encoding", "identity").lower() not in _ENCODINGS:
        # What is packed twice, or better than by gzip, can be gigabytes in one small piece.
        raise RemoteAnswerError(f"{endpoint.url} packed its answer in a way not asked for.")
    content = bytearray()
    for piece in response.iter_bytes():
        content += piece
        if len(content) > MAX_ANSWER_BYTES:
            raise RemoteAnswerError(
                f"{endpoint.url} answered with more than {MAX_ANSWER_BYTES // 2**20} MiB."
            )
        if deadline.remaining_s() == 0:
            raise error_of_deadline(endpoint.url, deadline)
    return bytes(content)
