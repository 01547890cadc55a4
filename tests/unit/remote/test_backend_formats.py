"""RLE of those servers that know it, polygons of the others; never polygons by mistake."""

from __future__ import annotations

import httpx
import pytest

from sam2_block.backends.remote.http.retry import RetryPolicy
from sam2_block.backends.remote.recent_keys import RecentKeys
from sam2_block.backends.remote.remote_backend import RemoteBackend
from sam2_block.errors import RemoteStatusError
from sam2_block.prompts import LabeledPoint, Prompt
from tests.unit.remote.fake_endpoint import FakeEndpoint, refuse
from tests.unit.remote.test_backend import BOX, ask


def formats(endpoint: FakeEndpoint) -> list[str]:
    return [body["format"] for _, body in endpoint.requests]


def test_polygons_of_a_server_without_rle(backend: RemoteBackend, endpoint: FakeEndpoint) -> None:
    endpoint.formats = ["json"]
    cut_in_two = Prompt(box_xyxy=(10, 5, 30, 25), points=(LabeledPoint(20, 8),))
    whole, parts = ask(backend, BOX, cut_in_two)
    assert whole.mask().crop.all()
    assert parts.mask().crop.sum() == 380  # one row, both parts
    # It is asked once only.
    before = len(endpoint.requests)
    ask(backend, BOX)
    assert [body["format"] for _, body in endpoint.requests[before:]] == ["json"]


def test_server_without_rle_may_fail_without_a_reason(
    backend: RemoteBackend, endpoint: FakeEndpoint
) -> None:
    """As `inference` 1.8.3 answers a format that it does not know."""
    endpoint.spoil = lambda request: (
        refuse(500, "Internal error.") if b'"rle"' in request.content else None
    )
    (found,) = ask(backend, BOX)
    assert found.mask().box_xyxy == (10, 5, 29, 24)


def test_server_that_once_sent_rle_is_not_asked_for_polygons(
    backend: RemoteBackend, endpoint: FakeEndpoint
) -> None:
    ask(backend, BOX)
    endpoint.spoil = lambda request: refuse(500, "Internal error.")
    with pytest.raises(RemoteStatusError, match="500"):
        ask(backend, BOX)
    assert {body["format"] for _, body in endpoint.requests} == {"rle"}


def test_failure_of_the_polygons_too_is_told_as_the_first(
    backend: RemoteBackend, endpoint: FakeEndpoint
) -> None:
    endpoint.spoil = lambda request: refuse(500, "rle" if b'"rle"' in request.content else "json")
    with pytest.raises(RemoteStatusError, match="Its message: rle"):
        ask(backend, BOX)
    endpoint.spoil = lambda request: None
    ask(backend, BOX)
    assert endpoint.requests[-1][1]["format"] == "rle"


def test_polygons_of_a_server_that_ignores_the_format(
    backend: RemoteBackend, endpoint: FakeEndpoint
) -> None:
    square = [[10, 5], [29, 5], [29, 24], [10, 24]]
    answer = {"predictions": [{"masks": [square, []], "confidence": 0.5}], "time": 0}
    endpoint.spoil = lambda request: httpx.Response(200, json=answer)
    (found,) = ask(backend, BOX)
    assert found.mask().box_xyxy == (10, 5, 29, 24)


def test_failure_that_passes_does_not_cost_the_holes(
    backend: RemoteBackend, endpoint: FakeEndpoint
) -> None:
    """A server that has no memory for a while says the same as one that knows no RLE."""
    failures = iter([True] * 4)
    endpoint.spoil = lambda request: (
        refuse(500, "Internal error.") if next(failures, False) else None
    )
    ask(backend, BOX)
    assert formats(endpoint) == ["rle"] * 4 + ["json", "rle"]
    ask(backend, BOX)
    assert formats(endpoint)[-1] == "rle"


@pytest.mark.parametrize("refusal", ["Invalid format rle", "Internal error."])
def test_server_without_rle_is_tried_again_after_a_while(
    endpoint: FakeEndpoint, refusal: str
) -> None:
    """It may have been updated, or be another one behind the same name."""
    backend = endpoint.backend(RetryPolicy(max_attempts=1))
    now = [0.0]
    backend._service.without_rle = RecentKeys(10, 600.0, lambda: now[0])
    endpoint.spoil = lambda request: refuse(500, refusal) if b'"rle"' in request.content else None
    ask(backend, BOX)
    for seconds in (0.0, 599.0):
        now[0] = seconds
        before = len(endpoint.requests)
        ask(backend, BOX)
        assert formats(endpoint)[before:] == ["json"]
    now[0] = 600.0
    before = len(endpoint.requests)
    ask(backend, BOX)
    assert formats(endpoint)[before] == "rle"
    endpoint.spoil = lambda request: None
    now[0] = 1200.0
    before = len(endpoint.requests)
    ask(backend, BOX)
    ask(backend, BOX)
    assert formats(endpoint)[before:] == ["rle", "rle"]
    backend._service.close()


def test_downgrade_lasts_ten_minutes(backend: RemoteBackend) -> None:
    assert backend._service.without_rle._lifetime_s == 600


def test_log_says_that_holes_are_lost(
    backend: RemoteBackend, endpoint: FakeEndpoint, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint.formats = ["json"]
    ask(backend, BOX)
    assert caplog.messages == [
        "http://sam2.test does not support RLE: masks are polygons, without holes"
    ]
