"""What a failure of the endpoint means, and what to do about it."""

from __future__ import annotations

import re
import ssl
from typing import Any

import httpx

from sam2_block.backends.remote.endpoints import Endpoint
from sam2_block.backends.remote.http.bodies import SMALL_RESPONSE, TooLargeError, parse_json
from sam2_block.backends.remote.http.retry import TRANSIENT_STATUSES, Deadline
from sam2_block.errors import (
    RemoteAnswerError,
    RemoteConnectionError,
    RemoteError,
    RemoteStatusError,
    RemoteTimeoutError,
)

_LONGEST_DETAIL = 300
_PROXY_ADVICE = "Check HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY."
_FORMAT = re.compile(
    r"\b(invalid|unknown|unsupported|mask) format\b|\bbody\.format\b|\bformat (is )?not\b",
    re.IGNORECASE,
)


def error_of_deadline(url: str, deadline: Deadline) -> RemoteTimeoutError:
    """Make the error of an image for which the time is over.

    Args:
        url: Of the server.
        deadline: The time there was.
    """
    return RemoteTimeoutError(
        f"{url} had not answered when the {deadline.seconds:g} s for one image were over"
        " (SAM2_BLOCK_DEADLINE_S)."
    )


def check_deadline(url: str, deadline: Deadline) -> None:
    """Stop work on an image for which the time is over.

    Raises:
        RemoteTimeoutError: It is.
    """
    if deadline.remaining_s() == 0:
        raise error_of_deadline(url, deadline)


def error_of_transport(endpoint: Endpoint, error: Exception) -> RemoteError:
    """Make the error of a request without a complete response.

    Args:
        endpoint: Server and key.
        error: What `httpx` raised.
    """
    url, name = endpoint.url, type(error).__name__
    # Bytes that are not HTTP are quoted as a bytearray: they may be the key in any spelling.
    words = str(error).partition(": bytearray(")[0]
    detail = _shortened(endpoint.without_key(words)) or name
    if isinstance(error, httpx.ConnectTimeout):
        return RemoteTimeoutError(
            f"{url} did not accept the connection in time.",
            transient=True,
        )
    if isinstance(error, httpx.TimeoutException):
        return RemoteTimeoutError(
            f"{url} was silent for too long ({name}; SAM2_BLOCK_DEADLINE_S).", transient=True
        )
    if isinstance(error, httpx.DecodingError):
        return RemoteAnswerError(f"{url} sent an answer that cannot be unpacked ({detail}).")
    if isinstance(error, httpx.ProxyError):
        # After the status, httpcore quotes what the proxy says: it knows its own password.
        status = re.match(r"[0-9]{3}\b", detail)
        detail = f"it answered {status[0]}" if status else detail
        return RemoteConnectionError(
            f"the proxy did not connect to {url} ({detail}). {_PROXY_ADVICE}",
            transient=detail != "it answered 407",
        )
    certificate = _certificate_error(error)
    if certificate is not None:
        return RemoteConnectionError(
            f"the certificate of {url} was not accepted ({certificate.verify_message}). Check the"
            " URL; for a certificate of your own set SSL_CERT_FILE."
        )
    if isinstance(error, httpx.ConnectError):
        return RemoteConnectionError(
            f"no connection to {url} ({detail}). Is a server running there?", transient=True
        )
    if isinstance(error, httpx.TransportError):
        return RemoteConnectionError(
            f"the connection to {url} broke ({name}: {detail}).", transient=True
        )
    return RemoteConnectionError(f"{url} cannot be asked ({name}: {detail}).")


def error_of_status(
    endpoint: Endpoint, status: int, body: bytes, retry_after_s: float | None
) -> RemoteStatusError:
    """Make the error of a status other than 200.

    Args:
        endpoint: Server and key.
        status: The HTTP status.
        body: Of the response.
        retry_after_s: The server's `Retry-After`, or None.
    """
    # Only a proxy answers 407, and it knows its own password.
    words, prompt_index = ("", None) if status == 407 else _words_of(body)
    # Only now: JSON can spell the key in escapes. And before it is cut: a part may be left.
    shown = _shortened(endpoint.without_key(words))
    words = _shortened(words)  # what is decided by the server's words knows all of them
    return RemoteStatusError(
        f"{endpoint.url} answered {status}: {_meaning(endpoint, status, words)}"
        + (f" It says: {shown}" if shown else ""),
        status=status,
        detail=shown,
        prompt_index=prompt_index,
        refuses_format=status in (400, 422, 500) and _names_format(words),
        transient=_passes(status, words),
        retry_after_s=retry_after_s,
    )


def may_refuse_format(error: RemoteStatusError) -> bool:
    """Whether a failure may be due to the format of masks: servers do not always say it."""
    unexplained = error.status == 500 and error.detail in ("", "Internal error.")
    return unexplained or error.refuses_format


def _names_format(words: str) -> bool:
    return _FORMAT.search(words) is not None


def _is_switched_off(status: int, words: str) -> bool:
    """Whether a server has no SAM 2 endpoint.

    `inference` 1.8.3 then takes the path for the name of a model, and fails to find that model, or,
    where it has no key, to look for it.
    """
    return status == 404 or (
        status == 500
        and re.search(r"^Service misconfiguration|model 'sam2/(segment|embed)_image'", words)
        is not None
    )


def _has_no_such_model(status: int, words: str) -> bool:
    return status == 500 and words.startswith("Could not retrieve model")


def _passes(status: int, words: str) -> bool:
    """Whether the same request may well succeed later."""
    lasting = _is_switched_off(status, words) or _has_no_such_model(status, words)
    return status in TRANSIENT_STATUSES and not lasting and not _names_format(words)


def _meaning(endpoint: Endpoint, status: int, words: str) -> str:
    if status in (401, 403):
        return f"it does not accept the key ({endpoint.key_source})."
    if _is_switched_off(status, words):
        return (
            "SAM 2 is not enabled there. On a server of your own set CORE_MODEL_SAM2_ENABLED=True;"
            " else check the URL."
        )
    if _has_no_such_model(status, words):
        return "it does not have this version of SAM 2. Choose another, or give it that one."
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
        return "it redirects, and is not followed, as the key is meant for it alone."
    if status >= 500:
        return "it failed."
    return "expected 200."


def _words_of(body: bytes) -> tuple[str, int | None]:
    """Return what a server says in words, and the index of the prompt that it complains of."""
    text = body.decode("utf-8", "replace")
    try:
        parsed = parse_json(text.encode(), SMALL_RESPONSE.max_values)
    except TooLargeError:
        return "", None
    except (ValueError, RecursionError):
        page = text.lstrip().startswith("<")  # of a proxy
        return ("" if page else text), None
    if not isinstance(parsed, dict):
        return str(parsed or ""), None
    detail = parsed.get("message") or parsed.get("detail") or ""
    if isinstance(detail, list):  # FastAPI's list of validation errors
        complaints = [item for item in detail if isinstance(item, dict)]
        indices = [_prompt_index(item.get("loc")) for item in complaints]
        words = "; ".join(
            f"{'.'.join(map(str, _as_list(item.get('loc'))))}: {item.get('msg', '')}"
            for item in complaints
        )
        return words, next((i for i in indices if i is not None), None)
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
    start = text[: 10 * _LONGEST_DETAIL]
    text = " ".join("".join(c if c.isprintable() else " " for c in start).split())
    return text if len(text) <= _LONGEST_DETAIL else text[: _LONGEST_DETAIL - 3] + "..."


def _certificate_error(error: BaseException | None) -> ssl.SSLCertVerificationError | None:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error
        error = error.__cause__ or error.__context__
    return None
