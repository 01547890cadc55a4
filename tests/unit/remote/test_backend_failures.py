"""Requests by the image's id that fail, and work that is stopped at its deadline."""

from __future__ import annotations

import gc
import json
import threading
import time
import weakref
from typing import Any

import httpx
import numpy as np
import pytest

from sam2_block.backends.remote import remote_backend as backend_module
from sam2_block.backends.remote import wire
from sam2_block.backends.remote.http.retry import Deadline, RetryPolicy
from sam2_block.backends.remote.remote_backend import RemoteBackend
from sam2_block.backends.remote.wire import ImageFormat
from sam2_block.errors import RemoteError, RemoteStatusError, RemoteTimeoutError
from sam2_block.prompts import Prompt
from tests.unit.remote.fake_endpoint import FakeEndpoint, Spoil, refuse
from tests.unit.remote.test_backend import BOX, ask, box, boxes_of


def is_by_id(request: httpx.Request) -> bool:
    return not json.loads(request.content)["image"]["value"]


BY_ID_FAILURES: dict[str, Any] = {
    **{str(status): refuse(status, "no") for status in (400, 404, 409, 410, 413, 422, 500, 503)},
    "in its own words": refuse(500, "KeyError: sam2_block-123"),
    "a redirect": httpx.Response(307, headers={"Location": "/"}),
    "no predictions": httpx.Response(200, content=b"<html>"),
    "broken off": httpx.RemoteProtocolError("broken off"),
}


@pytest.mark.parametrize("name", BY_ID_FAILURES)
@pytest.mark.parametrize("count", [1, 150])
def test_request_by_id_that_fails_is_sent_with_the_image(
    backend: RemoteBackend, endpoint: FakeEndpoint, name: str, count: int
) -> None:
    """A server may have forgotten the image, and say so in any way."""
    prompts = [box(index) for index in range(count)]
    ask(backend, *prompts)

    def spoil(request: httpx.Request) -> httpx.Response | None:
        if not is_by_id(request):
            return None
        if isinstance(BY_ID_FAILURES[name], Exception):
            raise BY_ID_FAILURES[name]
        return BY_ID_FAILURES[name]

    endpoint.spoil = spoil
    assert boxes_of(ask(backend, *prompts)) == [
        (x, y, x + 2, y + 1) for x, y in ((index % 50, index // 50) for index in range(count))
    ]


@pytest.mark.parametrize("status", [401, 403, 429])
def test_refused_key_or_rate_is_not_a_matter_of_the_image(
    endpoint: FakeEndpoint, status: int
) -> None:
    backend = endpoint.backend(RetryPolicy(max_attempts=1))
    ask(backend, BOX)
    endpoint.spoil = lambda request: refuse(status, "no") if is_by_id(request) else None
    with pytest.raises(RemoteStatusError, match=f"returned status {status}"):
        ask(backend, BOX)
    assert endpoint.uploads == 1
    # Nor is the wait for it, where there is no time for that.
    backend = endpoint.backend(deadline_s=5)
    ask(backend, box(9))
    headers = {"Retry-After": "3600"}
    endpoint.spoil = lambda request: (
        httpx.Response(429, headers=headers) if is_by_id(request) else None
    )
    with pytest.raises(RemoteTimeoutError, match="no time for another attempt"):
        ask(backend, box(9))
    assert endpoint.uploads == 2


def test_image_is_sent_once_where_it_does_not_help(endpoint: FakeEndpoint) -> None:
    backend = endpoint.backend(RetryPolicy(max_attempts=4))
    ask(backend, BOX)
    endpoint.spoil = lambda request: refuse(503, "busy")
    with pytest.raises(RemoteStatusError, match="returned status 503"):
        ask(backend, BOX)
    assert [bool(body["image"]["value"]) for _, body in endpoint.requests[1:]] == [False] * 4 + [
        True
    ]


def test_nothing_is_computed_after_the_deadline(
    endpoint: FakeEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither is an image encoded nor a mask decoded for a caller who has gone."""
    backend = endpoint.backend()
    now = [0.0]
    monkeypatch.setattr(backend_module, "Deadline", lambda s: Deadline(s, lambda: now[0]))
    run = backend_module.run_with_deadline
    calls = []

    def run_late(work: Any, *rest: Any) -> Any:
        now[0] += 1000
        return run(work, *rest)

    def count(*_: Any) -> Any:
        calls.append(None)

    with monkeypatch.context() as patch:
        patch.setattr(backend_module, "run_with_deadline", run_late)
        patch.setattr(ImageFormat, "encode", count)
        with pytest.raises(RemoteTimeoutError, match="did not respond within the 180 s"):
            ask(backend, BOX)
    assert (calls, endpoint.requests) == ([], [])

    def spoil(request: httpx.Request) -> None:
        now[0] += 100

    endpoint.spoil = spoil
    decode = wire.decode_coco_rle

    def decode_slowly(*own: Any) -> Any:
        calls.append(None)
        now[0] += 50
        return decode(*own)

    monkeypatch.setattr(wire, "decode_coco_rle", decode_slowly)
    with pytest.raises(RemoteTimeoutError, match="did not respond within the 180 s"):
        ask(backend, *[box(index) for index in range(9)])
    assert len(calls) == 2


class _Pixels(np.ndarray):
    """An array that can be referred to weakly."""


def _drop_connection(request: httpx.Request) -> httpx.Response:
    raise httpx.ReadError("dropped")


@pytest.mark.parametrize("count", [1, 200], ids=["one request", "several"])
@pytest.mark.parametrize(
    "spoil",
    [
        lambda request: refuse(413, "too large"),
        lambda request: refuse(422, [{"loc": ["prompts", "prompts", 0], "msg": "no"}]),
        lambda request: refuse(500, "Invalid format rle"),
        lambda request: httpx.Response(200, content=b"<html>"),
        lambda request: httpx.Response(200, json={}),
        _drop_connection,
    ],
    ids=["status", "prompt", "format", "no JSON", "malformed", "connection"],
)
def test_failure_leaves_nothing_to_the_garbage_collector(
    endpoint: FakeEndpoint, spoil: Spoil, count: int
) -> None:
    """It counts objects, not the megabytes of an image, its encoding and its request."""
    endpoint.spoil = spoil
    backend = endpoint.backend(RetryPolicy(max_attempts=1))
    threads = threading.active_count()
    gc.collect()
    gc.disable()
    try:
        image = np.zeros((20, 20, 3), np.uint8).view(_Pixels)
        pixels = weakref.ref(image)
        prompts = [Prompt(box_xyxy=(1, 1, 9, 9))] * count
        with pytest.raises(RemoteError) as caught:
            backend.predict(image, prompts, version="hiera_tiny", multimask_output=True)
        del image, caught
        for _ in range(5000):  # the threads end after the call
            if pixels() is None and threading.active_count() <= threads:
                break
            time.sleep(0.001)
        assert pixels() is None
    finally:
        gc.enable()
