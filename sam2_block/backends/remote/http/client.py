"""One JSON request to a server, with retries, within a deadline."""

from __future__ import annotations

import json
import logging
import ssl
import time
from collections.abc import Callable
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpx

from sam2_block.backends.execution import check_reachable
from sam2_block.backends.remote.endpoints import Endpoint
from sam2_block.backends.remote.expiring_semaphore import ExpiringSemaphore
from sam2_block.backends.remote.http.bodies import (
    SMALL_RESPONSE,
    ResponseLimits,
    TooLargeError,
    parse_json,
)
from sam2_block.backends.remote.http.call import Call, RequestBody, read_response
from sam2_block.backends.remote.http.failures import (
    check_deadline,
    error_of_deadline,
    error_of_status,
    error_of_transport,
)
from sam2_block.backends.remote.http.http_logs import redacted_http_logs
from sam2_block.backends.remote.http.proxies import ProxyRules
from sam2_block.backends.remote.http.retry import (
    CONNECT_TIMEOUT_S,
    DEFAULT_RETRY_POLICY,
    READ_TIMEOUT_S,
    READ_TIMEOUTS_PER_DEADLINE,
    Deadline,
    RetryPolicy,
    parse_retry_after,
)
from sam2_block.backends.remote.http.transport import DEADLINE, NetworkTransport
from sam2_block.errors import RemoteError, RemoteResponseError, RemoteTimeoutError, SettingsError
from sam2_block.settings import RemoteSettings

logger = logging.getLogger(__name__)


class HttpClient:
    """Sends requests to any server. Thread-safe; connections are reused.

    Args:
        settings: The operator's settings.
        retry_policy: Number of attempts, and the waits between them.
        transport: Replaces the network, for tests.
        sleep: Replaces `time.sleep`, for tests.
    """

    def __init__(
        self,
        settings: RemoteSettings,
        *,
        retry_policy: RetryPolicy | None = None,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._retry_policy = retry_policy or DEFAULT_RETRY_POLICY
        self._sleep = sleep
        self._permits = ExpiringSemaphore(settings.max_concurrent_requests)
        self._transport = transport
        self._http = self._create_http()

    def _create_http(self) -> httpx.Client:
        """Create the `httpx` client, with its own connections."""
        # Redirects are not followed: the key is meant for the named host only. Cookies are not
        # stored: those of one caller would be sent with another's requests.
        return httpx.Client(
            transport=self._transport or NetworkTransport(_ssl_context(), ProxyRules()),
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            follow_redirects=False,
            trust_env=False,
        )

    def post(
        self,
        endpoint: Endpoint,
        path: str,
        payload: dict[str, Any],
        deadline: Deadline,
        *,
        limits: ResponseLimits = SMALL_RESPONSE,
        max_attempts: int | None = None,
    ) -> Any:
        """Send a request, with retries, and return the parsed response.

        Args:
            endpoint: Server and key.
            path: Path of the endpoint, from the server's URL.
            payload: The body; the key is added to it.
            deadline: When to give up, waits included.
            limits: The maximum size of the response.
            max_attempts: Maximum number of attempts, if lower than the policy's.

        Raises:
            ExecutionNotAllowedError: Nothing may be sent to that server.
            RemoteError: There is no usable response; the class and the message give the reason.
        """
        check_reachable(endpoint.url)
        if endpoint.api_key is not None:
            payload = {**payload, "api_key": endpoint.api_key}
        call = Call(endpoint, path, json.dumps(payload).encode(), deadline, limits)
        failures = 0
        while True:
            try:
                with self._permits.acquire(endpoint.url, deadline) as is_permitted:
                    if not is_permitted:
                        raise RemoteTimeoutError(
                            f"no request to {endpoint.url} could be sent within the"
                            f" {deadline.seconds:g} s for one image: too many are in progress"
                            " (SAM2_BLOCK_MAX_CONCURRENT_REQUESTS, SAM2_BLOCK_DEADLINE_S)."
                        )
                    return self._attempt(call)
            except RemoteError as error:
                failures += 1
                wait_s = self._retry_policy.wait_s(failures, error.retry_after_s)
                if not error.transient or wait_s is None or failures == max_attempts:
                    raise
                if wait_s >= deadline.remaining_s():
                    raise RemoteTimeoutError(
                        f"{error} The {deadline.seconds:g} s for one image leave no time for"
                        " another attempt (SAM2_BLOCK_DEADLINE_S).",
                        transient=error.transient,
                        retry_after_s=error.retry_after_s,
                    ) from error
                logger.info(
                    "attempt %d of %s failed, waiting %.1f s: %s", failures, path, wait_s, error
                )
                self._sleep(wait_s)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _attempt(self, call: Call) -> Any:
        """Send a request once and return the parsed response."""
        status, headers, content = self._exchange(call)
        if status != 200:
            wait_s = parse_retry_after(headers.get("Retry-After"))
            raise error_of_status(call.endpoint, status, content, wait_s)
        check_deadline(call.endpoint.url, call.deadline)
        try:
            return parse_json(content, call.limits.max_values)
        except TooLargeError:
            problem = "with more values than the request allows."
        except (ValueError, RecursionError):
            problem = "that is not JSON. Is it an inference server?"
        # Raised outside the handler, so that no error is chained: it may quote a server that
        # repeats the key.
        raise RemoteResponseError(f"{call.endpoint.url} sent a response {problem}")

    def _exchange(self, call: Call) -> tuple[int, httpx.Headers, bytes]:
        """Send a request and return the status, the headers and the body of its response."""
        url, deadline = call.endpoint.url, call.deadline
        check_deadline(url, deadline)
        body = RequestBody(call)
        try:
            with (
                redacted_http_logs(call.endpoint),
                self._http.stream(
                    "POST",
                    url + call.path,
                    content=body,
                    headers=call.headers(),
                    timeout=self._timeout(deadline),
                    extensions={DEADLINE: deadline},
                ) as response,
            ):
                content = read_response(call, response)
                if response.status_code == 200 and not body.is_sent:
                    raise httpx.RemoteProtocolError("the response preceded the end of the request")
                return response.status_code, response.headers, content
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, UnicodeError) as error:
            # `UnicodeError`: a host name that is not valid IDNA, such as `xn--0`.
            cut_short = isinstance(error, httpx.TimeoutException) and deadline.remaining_s() == 0
            failure = (
                error_of_deadline(url, deadline)
                if cut_short
                else error_of_transport(call.endpoint, error)
            )
        # Raised outside the handler, so that no error is chained: it may quote a server that
        # repeats the key.
        try:
            raise failure
        finally:
            del failure  # its traceback references this frame: avoid a cycle

    @staticmethod
    def _timeout(deadline: Deadline) -> httpx.Timeout:
        remaining_s = deadline.remaining_s()
        return httpx.Timeout(
            min(max(READ_TIMEOUT_S, deadline.seconds / READ_TIMEOUTS_PER_DEADLINE), remaining_s),
            connect=min(CONNECT_TIMEOUT_S, remaining_s),
        )


def _ssl_context() -> ssl.SSLContext:
    try:
        return httpx.create_ssl_context()
    except (ValueError, OSError) as error:
        raise SettingsError(
            f"no certificates can be loaded ({type(error).__name__}): check SSL_CERT_FILE and"
            " SSL_CERT_DIR."
        ) from error
