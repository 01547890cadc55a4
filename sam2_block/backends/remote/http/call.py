"""One request: what goes out piece by piece, and how much may come back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import httpx

from sam2_block.backends.remote.endpoints import Endpoint
from sam2_block.backends.remote.http.bodies import (
    ENCODINGS,
    SMALL_RESPONSE,
    EncodingError,
    ResponseLimits,
    TooLargeError,
    read_body,
)
from sam2_block.backends.remote.http.failures import check_deadline
from sam2_block.backends.remote.http.retry import Deadline
from sam2_block.errors import RemoteAnswerError

PIECE_BYTES = 256 * 1024


@dataclass(frozen=True)
class Call:
    """One request, as often as it is tried.

    Attributes:
        endpoint: The server and the key.
        path: Path of the endpoint, from the server's URL.
        body: JSON.
        deadline: When to give up.
        limits: The most that a successful response may hold.
    """

    endpoint: Endpoint
    path: str
    body: bytes = field(repr=False)  # has the key
    deadline: Deadline
    limits: ResponseLimits

    def headers(self) -> dict[str, str]:
        """Return the headers; the length is known, as not every proxy takes a body in chunks."""
        return {
            "Content-Type": "application/json",
            "Content-Length": str(len(self.body)),
            "Accept-Encoding": ", ".join(ENCODINGS),
        }


class RequestBody:
    """A request's body bit by bit: a server that reads slowly does not get more than its time.

    Attributes:
        is_sent: Whether all of it has been sent.
    """

    def __init__(self, call: Call) -> None:
        self._call = call
        self.is_sent = False

    def __iter__(self) -> Iterator[bytes]:
        body = self._call.body
        for start in range(0, len(body), PIECE_BYTES):
            check_deadline(self._call.endpoint.url, self._call.deadline)
            yield body[start : start + PIECE_BYTES]
        self.is_sent = True


def read_response(call: Call, response: httpx.Response) -> bytes:
    """Read a body; one of an error that is too large or garbled goes without saying."""
    url, is_error = call.endpoint.url, response.status_code != 200
    # An error may quote the whole request, each character escaped.
    max_bytes = SMALL_RESPONSE.max_bytes + 2 * len(call.body) if is_error else call.limits.max_bytes
    try:
        return read_body(response, max_bytes, lambda: check_deadline(url, call.deadline))
    except TooLargeError:
        problem = f"answered with more than the {max_bytes} bytes that the request allows"
    except EncodingError as error:
        problem = f"sent an answer that cannot be unpacked ({error})"
    if is_error:
        return b""
    raise RemoteAnswerError(f"{url} {problem}.")
