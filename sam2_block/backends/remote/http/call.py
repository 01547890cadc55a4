"""One request: its body, sent in pieces, and the body of its response, read within limits."""

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
from sam2_block.errors import RemoteResponseError

PIECE_BYTES = 256 * 1024


@dataclass(frozen=True)
class Call:
    """One request, the same in every attempt.

    Attributes:
        endpoint: The server and the key.
        path: Path of the endpoint, from the server's URL.
        body: JSON.
        deadline: When to give up.
        limits: The maximum size of a successful response.
    """

    endpoint: Endpoint
    path: str
    body: bytes = field(repr=False)  # contains the key
    deadline: Deadline
    limits: ResponseLimits

    def headers(self) -> dict[str, str]:
        """Return the headers, with a length, because not every proxy accepts a chunked body."""
        return {
            "Content-Type": "application/json",
            "Content-Length": str(len(self.body)),
            "Accept-Encoding": ", ".join(ENCODINGS),
        }


class RequestBody:
    """A request's body in pieces; a server that reads slowly cannot exceed the deadline.

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
    """Read a body; return an error's body as empty if it is too large or malformed."""
    url, is_error = call.endpoint.url, response.status_code != 200
    # An error may quote the whole request, each character escaped.
    max_bytes = SMALL_RESPONSE.max_bytes + 2 * len(call.body) if is_error else call.limits.max_bytes
    try:
        return read_body(response, max_bytes, lambda: check_deadline(url, call.deadline))
    except TooLargeError:
        problem = f"sent a response of more than the {max_bytes} bytes that the request allows"
    except EncodingError as error:
        problem = f"sent a response that cannot be decompressed ({error})"
    if is_error:
        return b""
    raise RemoteResponseError(f"{url} {problem}.")
