"""Errors for failures of an endpoint: what each failure means, and what to do about it."""

from __future__ import annotations

import re
import ssl
from typing import Any

import httpx

from sam2_block.backends.remote.endpoints import Endpoint
from sam2_block.backends.remote.http.bodies import SMALL_RESPONSE, TooLargeError, parse_json
from sam2_block.backends.remote.http.retry import (
    CONNECT_TIMEOUT_S,
    READ_TIMEOUT_S,
    READ_TIMEOUTS_PER_DEADLINE,
    TRANSIENT_STATUSES,
    Deadline,
)
from sam2_block.errors import (
    RemoteConnectionError,
    RemoteError,
    RemoteResponseError,
    RemoteStatusError,
    RemoteTimeoutError,
)

_MAX_DETAIL_LENGTH = 300
_PROXY_ADVICE = "Check HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY."
_FORMAT = re.compile(
    r"\b(invalid|unknown|unsupported|mask) format\b|\bbody\.format\b|\bformat (is )?not\b",
    re.IGNORECASE,
)


def error_of_deadline(url: str, deadline: Deadline) -> RemoteTimeoutError:
    """Return the error for an image whose deadline has passed.

    Args:
        url: The server's URL.
        deadline: The deadline that has passed.
    """
    return RemoteTimeoutError(
        f"{url} did not respond within the {deadline.seconds:g} s for one image"
        " (SAM2_BLOCK_DEADLINE_S)."
    )


def check_deadline(url: str, deadline: Deadline) -> None:
    """Stop work on an image whose deadline has passed.

    Raises:
        RemoteTimeoutError: The deadline has passed.
    """
    if deadline.remaining_s() == 0:
        raise error_of_deadline(url, deadline)


def error_of_transport(endpoint: Endpoint, error: Exception) -> RemoteError:
    """Return the error for a request without a complete response.

    Args:
        endpoint: Server and key.
        error: The error that `httpx` raised.
    """
    url, name = endpoint.url, type(error).__name__
    # Bytes that are not HTTP are quoted as a bytearray: they may contain the key in any spelling.
    text = str(error).partition(": bytearray(")[0]
    detail = _shortened(endpoint.without_key(text)) or name
    if isinstance(error, httpx.ConnectTimeout):
        return RemoteTimeoutError(
            f"{url} did not accept the connection within {CONNECT_TIMEOUT_S:g} s. Is a server"
            " running there?",
            transient=True,
        )
    if isinstance(error, httpx.TimeoutException):
        return RemoteTimeoutError(
            f"{url} sent nothing for too long ({name}). A SAM2_BLOCK_DEADLINE_S above"
            f" {READ_TIMEOUT_S * READ_TIMEOUTS_PER_DEADLINE:g} permits longer waits.",
            transient=True,
        )
    if isinstance(error, httpx.DecodingError):
        return RemoteResponseError(f"{url} sent a response that cannot be decompressed ({detail}).")
    if isinstance(error, httpx.ProxyError):
        # httpcore quotes the proxy's text after the status: it may repeat the proxy's password.
        status = re.match(r"[0-9]{3}\b", detail)
        detail = f"it returned status {status[0]}" if status else detail
        return RemoteConnectionError(
            f"the proxy did not connect to {url} ({detail}). {_PROXY_ADVICE}",
            transient=detail != "it returned status 407",
        )
    certificate = _certificate_error(error)
    if certificate is not None:
        return RemoteConnectionError(
            f"the certificate of {url} was not accepted ({certificate.verify_message}). Check the"
            " URL; for your own certificate set SSL_CERT_FILE."
        )
    if isinstance(error, httpx.ConnectError):
        return RemoteConnectionError(
            f"no connection to {url} ({detail}). Is a server running there?", transient=True
        )
    if isinstance(error, httpx.TransportError):
        return RemoteConnectionError(
            f"the connection to {url} broke ({name}: {detail}).", transient=True
        )
    return RemoteConnectionError(f"no request can be sent to {url} ({name}: {detail}).")


def error_of_status(
    endpoint: Endpoint, status: int, body: bytes, retry_after_s: float | None
) -> RemoteStatusError:
    """Return the error for a status other than 200.

    Args:
        endpoint: Server and key.
        status: The HTTP status.
        body: The body of the response.
        retry_after_s: The server's `Retry-After`, or None.
    """
    # Only a proxy sends 407, and its text may repeat the proxy's password.
    text, prompt_index = ("", None) if status == 407 else _parse_error_body(body)
    # Redacted after parsing, as JSON can escape the key, and before a cut could leave a part of it.
    detail = _shortened(endpoint.without_key(text))
    text = _shortened(text)  # not redacted: the status is interpreted by the original text
    return RemoteStatusError(
        f"{endpoint.url} returned status {status}: {_explanation(endpoint, status, text)}"
        + (f" Its message: {detail}" if detail else ""),
        status=status,
        detail=detail,
        prompt_index=prompt_index,
        refuses_format=status in (400, 422, 500) and _names_format(text),
        transient=_is_transient(status, text),
        retry_after_s=retry_after_s,
    )


def may_refuse_format(error: RemoteStatusError) -> bool:
    """Return whether the mask format may have caused a failure; not every server reports it."""
    unexplained = error.status == 500 and error.detail in ("", "Internal error.")
    return unexplained or error.refuses_format


def _names_format(text: str) -> bool:
    return _FORMAT.search(text) is not None


def _is_switched_off(status: int, text: str) -> bool:
    """Return whether the server has no SAM 2 endpoint.

    `inference` 1.8.3 then treats the path as the name of a model. It fails to find that model or,
    without a key, to look it up.
    """
    return status == 404 or (
        status == 500
        and re.search(r"^Service misconfiguration|model 'sam2/(segment|embed)_image'", text)
        is not None
    )


def _has_no_such_model(status: int, text: str) -> bool:
    return status == 500 and text.startswith("Could not retrieve model")


def _is_transient(status: int, text: str) -> bool:
    """Return whether the same request may succeed later."""
    permanent = _is_switched_off(status, text) or _has_no_such_model(status, text)
    return status in TRANSIENT_STATUSES and not permanent and not _names_format(text)


def _explanation(endpoint: Endpoint, status: int, text: str) -> str:
    if status in (401, 403):
        return f"it does not accept the key ({endpoint.key_source})."
    if _is_switched_off(status, text):
        return (
            "SAM 2 is not enabled there. On your own server set CORE_MODEL_SAM2_ENABLED=True;"
            " otherwise check the URL."
        )
    if _has_no_such_model(status, text):
        return "it does not have this version of SAM 2. Choose another, or add it to the server."
    if status == 407:
        return f"a proxy does not accept the user and the password. {_PROXY_ADVICE}"
    if status == 413:
        return (
            "the image is too large for it. Send JPEG (SAM2_BLOCK_UPLOAD_FORMAT=jpeg), or resize or"
            " slice the image."
        )
    if status in (400, 422):
        return "it cannot use the request."
    if status == 429:
        return "too many requests. Lower SAM2_BLOCK_MAX_CONCURRENT_REQUESTS, or wait."
    if 300 <= status < 400:
        return "redirects are not followed, because the key is meant for this server only."
    if status >= 500:
        return "it failed."
    return "expected 200."


def _parse_error_body(body: bytes) -> tuple[str, int | None]:
    """Return the server's error message, and the index of the prompt that it reports, or None."""
    text = body.decode("utf-8", "replace")
    try:
        parsed = parse_json(text.encode(), SMALL_RESPONSE.max_values)
    except TooLargeError:
        return "", None
    except (ValueError, RecursionError):
        is_page = text.lstrip().startswith("<")  # from a proxy
        return ("" if is_page else text), None
    if not isinstance(parsed, dict):
        return str(parsed or ""), None
    detail = parsed.get("message") or parsed.get("detail") or ""
    if isinstance(detail, list):  # FastAPI's list of validation errors
        errors = [item for item in detail if isinstance(item, dict)]
        indices = [_prompt_index(item.get("loc")) for item in errors]
        message = "; ".join(
            f"{'.'.join(map(str, _as_list(item.get('loc'))))}: {item.get('msg', '')}"
            for item in errors
        )
        return message, next((i for i in indices if i is not None), None)
    return str(detail), None


def _prompt_index(location: Any) -> int | None:
    """Return the index of a prompt in a FastAPI error location, `[..., "prompts", 3, ...]`."""
    steps = _as_list(location)
    if "prompts" in steps:
        within = steps[steps.index("prompts") :]
        return next((step for step in within if type(step) is int and step >= 0), None)
    return None


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _shortened(text: str) -> str:
    start = text[: 10 * _MAX_DETAIL_LENGTH]
    text = " ".join("".join(c if c.isprintable() else " " for c in start).split())
    return text if len(text) <= _MAX_DETAIL_LENGTH else text[: _MAX_DETAIL_LENGTH - 3] + "..."


def _certificate_error(error: BaseException | None) -> ssl.SSLCertVerificationError | None:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error
        error = error.__cause__ or error.__context__
    return None
