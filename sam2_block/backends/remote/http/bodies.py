"""Read and parse response bodies within limits that are checked before data is expanded."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import httpx

ENCODINGS = ("identity", "gzip", "deflate")


@dataclass(frozen=True)
class ResponseLimits:
    """The maximum size of a response.

    Attributes:
        max_bytes: Bytes of the body, after decompression.
        max_values: Lists, objects and strings, and items of lists and objects.
    """

    max_bytes: int
    max_values: int


SMALL_RESPONSE = ResponseLimits(2**20, 100_000)


class TooLargeError(Exception):
    """A body exceeds its limit."""


class EncodingError(Exception):
    """A body has an encoding that was not requested, or is malformed in its encoding."""


def read_body(response: httpx.Response, max_bytes: int, check: Callable[[], None]) -> bytes:
    """Read a body and decompress it.

    httpx's own decoders are not used: they decompress all received data in one piece, and 248 KiB
    of gzip can be 6 GiB.

    Args:
        response: A response whose body has not been read.
        max_bytes: Maximum number of bytes after decompression.
        check: Called after every piece; raises to stop.

    Raises:
        TooLargeError: The body has more bytes.
        EncodingError: The body cannot be decompressed.
    """
    decoder = _decoder(response.headers.get("Content-Encoding", "identity").strip().lower())
    content = bytearray()
    try:
        for piece in response.iter_raw():
            content += decoder.decompress(piece, max_bytes - len(content) + 1)
            if len(content) > max_bytes:
                raise TooLargeError
            check()
    except zlib.error as error:
        raise EncodingError(str(error)) from None
    return bytes(content)


def parse_json(content: bytes, max_values: int) -> Any:
    """Parse JSON with a limited number of values, and so of limited memory.

    Raises:
        TooLargeError: The JSON has more values.
        ValueError: The content is not JSON.
        RecursionError: The JSON is nested too deeply.
    """
    text = content.decode(json.detect_encoding(content), "surrogatepass")
    # Every item of a list or an object follows a comma or an opening bracket.
    without_escapes = text.replace("\\\\", "").replace('\\"', "")
    if text.count(",") > max_values or without_escapes.count('"') > 2 * max_values:
        raise TooLargeError
    outside_strings = without_escapes.split('"')[::2]
    if sum(part.count("[") + part.count("{") for part in outside_strings) > max_values:
        raise TooLargeError
    return json.loads(text)


class _Decoder(Protocol):
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class _Identity:
    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        return data[:max_length]


class _Deflate:
    """Decompresses `deflate` in both of its forms, with and without a zlib header."""

    def __init__(self) -> None:
        self._start = b""
        self._decoder: _Decoder | None = None

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        if self._decoder is None:
            data = self._start = self._start + data
            if len(data) < 2:
                return b""
            # RFC 1950, 2.2: the method is 8, and a checksum makes the header a multiple of 31.
            has_header = data[0] & 0x0F == 8 and (data[0] * 256 + data[1]) % 31 == 0
            self._decoder = zlib.decompressobj(zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS)
        return self._decoder.decompress(data, max_length)


def _decoder(encoding: str) -> _Decoder:
    if encoding == "identity":
        return _Identity()
    if encoding == "gzip":
        return zlib.decompressobj(zlib.MAX_WBITS | 16)
    if encoding == "deflate":
        return _Deflate()
    raise EncodingError("an encoding that was not requested")
