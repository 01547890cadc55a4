"""Bodies of responses: what may be in them is bounded by the request, before it is widened."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator

import httpx
import numpy as np
import pytest

from sam2_block.backends.remote.endpoints import Endpoint
from sam2_block.backends.remote.http.bodies import (
    EncodingError,
    ResponseLimits,
    TooLargeError,
    parse_json,
    read_body,
)
from sam2_block.backends.remote.http.client import HttpClient
from sam2_block.backends.remote.http.retry import Deadline
from sam2_block.backends.remote.wire import parse_response, response_limits
from sam2_block.errors import RemoteResponseError, RemoteStatusError
from sam2_block.masks import coco_rle
from sam2_block.settings import RemoteSettings
from tests.unit.remote.scripted_server import URL, Post, Server, Transport

TEXT = json.dumps({"text": "word " * 1000}).encode()


def raw_deflate(content: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(content) + packer.flush()


PACKERS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "identity": ("identity", bytes),
    "gzip": ("gzip", gzip.compress),
    "zlib": ("deflate", zlib.compress),
    "raw deflate": ("deflate", raw_deflate),
}


def read(content: bytes, encoding: str, max_bytes: int, piece: int = 1_000_000) -> bytes:
    def pieces() -> Iterator[bytes]:
        for start in range(0, len(content), piece):
            yield content[start : start + piece]

    response = httpx.Response(200, headers={"Content-Encoding": encoding}, content=pieces())
    return read_body(response, max_bytes, lambda: None)


@pytest.mark.parametrize("name", PACKERS)
@pytest.mark.parametrize("piece", [1, 7, 1_000_000])
def test_body_is_read_up_to_its_bound_and_no_further(name: str, piece: int) -> None:
    encoding, pack = PACKERS[name]
    packed = pack(TEXT)
    assert read(packed, encoding, len(TEXT), piece) == TEXT
    with pytest.raises(TooLargeError):
        read(packed, encoding, len(TEXT) - 1, piece)
    assert read(pack(b""), encoding, 0, piece) == b""


def test_body_is_not_read_beyond_its_bound() -> None:
    pieces = []

    def endless() -> Iterator[bytes]:
        while True:
            pieces.append(None)
            yield b" " * 1000

    with pytest.raises(TooLargeError):
        read_body(httpx.Response(200, content=endless()), 3000, lambda: None)
    assert len(pieces) == 4


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "gzip,identity", "x"])
def test_encoding_that_was_not_requested(encoding: str) -> None:
    with pytest.raises(EncodingError):
        read(b"{}", encoding, 100)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("[1, 2, 3]", 2),
        ("[[], [], []]", 4),
        ("[[[[[]]]]]", 5),
        ('{"a": {"b": {}}}', 3),
        ('["a", "b", "c"]', 3),
        # Brackets and quotes in texts are no values.
        (json.dumps({"counts": '[{[{\\"\\\\"[['}), 2),
        (json.dumps(["\\", '"[', '\\"[[', "[\\\\"]), 4),
        ('"\\u0022[[[["', 1),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_json_of_more_values_than_allowed(text: str, values: int, encoding: str) -> None:
    content = text.encode(encoding)
    assert parse_json(content, values) == json.loads(text)
    with pytest.raises(TooLargeError):
        parse_json(content, values - 1)


def checkerboard(height: int, width: int) -> np.ndarray:
    return (np.add.outer(np.arange(height), np.arange(width)) % 2).astype(np.bool_)


def blocks(height: int, width: int) -> np.ndarray:
    """A mask as busy as SAM 2's grid of 256 x 256 allows."""
    rows, columns = np.arange(height) * 256 // height, np.arange(width) * 256 // width
    return (np.add.outer(rows, columns) % 2).astype(np.bool_)


@pytest.mark.parametrize(
    "mask",
    [
        *(
            checkerboard(*hw)
            for hw in [(1, 1), (1, 50), (50, 1), (40, 60), (511, 600), (1000, 900)]
        ),
        *(np.random.default_rng(1).random(hw) < 0.5 for hw in [(40, 60), (300, 400), (5000, 3)]),
        *(blocks(*hw) for hw in [(1080, 1920), (2000, 3000), (3000, 300)]),
        np.zeros((1, 1), np.bool_),
        np.ones((2160, 3840), np.bool_),
    ],
    ids=lambda mask: f"{mask.shape}",
)
@pytest.mark.parametrize("count", [1, 3])
def test_no_mask_is_beyond_the_bounds(mask: np.ndarray, count: int) -> None:
    prediction = {"masks": coco_rle(mask), "confidence": 0.123456789012345, "format": "rle"}
    answer = {"predictions": [prediction] * count, "time": 0.1}
    content = json.dumps(answer, indent=2).encode()
    limits = response_limits(count, mask.shape)
    assert len(content) <= limits.max_bytes
    parsed = parse_response(parse_json(content, limits.max_values), count, mask.shape)
    canvas = np.zeros(mask.shape, np.bool_)
    parsed[-1].mask().paste_into(canvas)
    np.testing.assert_array_equal(canvas, mask)


def test_bounds_grow_with_the_request() -> None:
    """Kilobytes for a small image, and never hundreds of megabytes for one request."""
    assert response_limits(1, (40, 60)).max_bytes < 700_000
    assert response_limits(3, (3000, 4000)).max_bytes < 70_000_000
    assert response_limits(64, (800, 800)).max_bytes < 320_000_000
    sizes = [response_limits(count, (600, 800)).max_bytes for count in (1, 2, 64)]
    assert sizes[1] < 2 * sizes[0] < sizes[2]


def test_polygons_of_more_points_than_an_outline_has() -> None:
    spiral = [[index % 60, index % 40] for index in range(10_000)]
    for polygons in ([spiral], [[point] for point in spiral]):
        answer = {"predictions": [{"masks": polygons, "confidence": 0.5}]}
        with pytest.raises(RemoteResponseError, match="polygons with far too many points"):
            parse_response(answer, 1, (40, 60))


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_response_larger_than_the_request_allows(encoding: str, post: Post) -> None:
    content = json.dumps("x" * 2**20).encode()
    packed = gzip.compress(content) if encoding == "gzip" else content
    server = Server(
        lambda request: httpx.Response(
            200, headers={"Content-Encoding": encoding}, stream=httpx.ByteStream(packed)
        )
    )
    said = rf"^{URL} sent a response of more than the 1048576 bytes that the request allows\.$"
    with pytest.raises(RemoteResponseError, match=said):
        post(server)
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [400, 401, 503])
def test_error_with_a_body_that_is_too_large_is_that_error(status: int, post: Post) -> None:
    server = Server(lambda request: httpx.Response(status, content=b"x" * 2**21))
    with pytest.raises(RemoteStatusError) as caught:
        post(server, max_attempts=1)
    assert (caught.value.status, caught.value.detail) == (status, "")


def test_error_may_quote_the_whole_request() -> None:
    """FastAPI does, and what it says of it comes after the image."""

    def answer(request: httpx.Request) -> httpx.Response:
        detail = [{"input": request.content.decode(), "loc": ["body"], "msg": "bad"}]
        return httpx.Response(422, json={"detail": detail})

    client = HttpClient(RemoteSettings(), transport=Transport(answer))
    with pytest.raises(RemoteStatusError, match="Its message: body: bad"):
        client.post(Endpoint(URL), "/x", {"image": "x" * 2**22}, Deadline(1000))
    client.close()


def test_limits_of_a_request_hold_for_its_response() -> None:
    server = Server(httpx.Response(200, json=[1, 2, 3]))
    client = HttpClient(RemoteSettings(), transport=Transport(server))
    for limits in (ResponseLimits(6, 100), ResponseLimits(100, 1)):
        with pytest.raises(RemoteResponseError, match=r"than the 6 bytes|more values than"):
            client.post(Endpoint(URL), "/x", {}, Deadline(1000), limits=limits)
    client.close()


MEASURE = """
import gzip, json, resource, sys, tracemalloc, zlib
import httpx
import numpy as np
from sam2_block.backends.remote.http.bodies import TooLargeError, parse_json, read_body
from sam2_block.backends.remote.wire import parse_response, response_limits
from sam2_block.errors import RemoteResponseError

HW = (3000, 4000)
LIMITS = response_limits(3, HW)

def bomb():
    packer = zlib.compressobj(9, wbits=31)
    packed = b"".join(packer.compress(b" " * 2**20) for _ in range(500)) + packer.flush()
    headers = {"Content-Encoding": "gzip"}
    response = httpx.Response(200, headers=headers, stream=httpx.ByteStream(packed))
    return lambda: read_body(response, LIMITS.max_bytes, lambda: None)

def lists():
    content = b"[" + b"[]," * (LIMITS.max_bytes // 3 - 2) + b"[]]"
    return lambda: parse_json(content, LIMITS.max_values)

def nests():
    nest = b"[" * 900 + b"]" * 900
    content = b"[" + (nest + b",") * (LIMITS.max_bytes // 1801 - 2) + nest + b"]"
    return lambda: parse_json(content, LIMITS.max_values)

def texts():
    content = b"[" + b'"",' * (LIMITS.max_bytes // 3 - 2) + b'""]'
    return lambda: parse_json(content, LIMITS.max_values)

def mask(counts):
    answer = {"predictions": [{"masks": {"size": list(HW), "counts": counts}, "confidence": 1}]}
    return lambda: parse_response(answer, 1, HW)

CASES = {
    "bomb": bomb, "lists": lists, "nests": nests, "texts": texts,
    "rle of 69 MiB": lambda: mask("0" * 69 * 2**20),
    "rle of a run a pixel": lambda: mask("1" * HW[0] * HW[1]),
    "rle of long numbers": lambda: mask("PPPPP1" * 1_000_000),
    "rle of as many runs as may be": lambda: mask("1" + "0" * 2_000_000),
}
attack = CASES[sys.argv[1]]()
# What lets an attack through fails here, and takes no more than this of the machine's memory.
resource.setrlimit(resource.RLIMIT_AS, (4 * 2**30, 4 * 2**30))
tracemalloc.start()
try:
    attack()
except (TooLargeError, RemoteResponseError):
    print(tracemalloc.get_traced_memory()[1] // 2**20)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such limit")
@pytest.mark.parametrize(
    ("case", "most_mib"),
    [
        ("bomb", 200),
        # The text of the response, and what is outside of its texts.
        ("lists", 100),
        ("nests", 100),
        ("texts", 100),
        ("rle of 69 MiB", 5),
        ("rle of a run a pixel", 5),
        ("rle of long numbers", 150),
        ("rle of as many runs as may be", 200),
    ],
)
def test_hostile_response_takes_little_memory(case: str, most_mib: int) -> None:
    command = [sys.executable, "-c", MEASURE, case]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert 0 <= int(done.stdout) < most_mib
