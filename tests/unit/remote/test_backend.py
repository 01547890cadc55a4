"""What goes to a SAM 2 endpoint, how often, and what becomes of its answers."""

from __future__ import annotations

import json
import threading
from typing import Any

import httpx
import numpy as np
import pytest

from sam2_block.backends.remote.endpoints import Endpoint
from sam2_block.backends.remote.http.retry import RetryPolicy
from sam2_block.backends.remote.remote_backend import EMBED_PATH, SEGMENT_PATH, RemoteBackend
from sam2_block.concurrent_map import map_concurrently
from sam2_block.errors import (
    OptionError,
    RemoteError,
    RemoteResponseError,
    RemoteStatusError,
    RemoteTimeoutError,
)
from sam2_block.prompts import LabeledPoint, Prompt
from sam2_block.versions import NAMES, REMOTE_NAMES
from tests.unit.remote.fake_endpoint import URL, FakeEndpoint, refuse

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
BOX = Prompt(box_xyxy=(10.0, 5.0, 30.0, 25.0))


def box(index: int) -> Prompt:
    """Return a box that no other index has."""
    left, top = index % 50, index // 50
    return Prompt(box_xyxy=(left, top, left + 3.0, top + 2.0))


def point(*xy: tuple[int, int]) -> Prompt:
    return Prompt(points=tuple(LabeledPoint(*one) for one in xy))


def ask(backend: RemoteBackend, *prompts: Prompt, image: np.ndarray = IMAGE, **options: Any) -> Any:
    options = {"version": "hiera_tiny", "multimask_output": True, **options}
    return backend.predict(image, prompts, **options)


def boxes_of(answers: Any) -> list[tuple[float, ...]]:
    return [answer.mask().box_xyxy for answer in answers]


def test_one_request_for_a_few_boxes(backend: RemoteBackend, endpoint: FakeEndpoint) -> None:
    (answer,) = ask(backend, BOX)
    assert answer.mask().box_xyxy == (10, 5, 29, 24)
    assert answer.score == pytest.approx(400 / 2400, abs=1e-4)
    ((path, body),) = endpoint.requests
    assert path == SEGMENT_PATH
    assert body["sam2_version_id"] == "hiera_tiny"
    assert body["format"] == "rle"
    assert body["multimask_output"] is True
    assert body["prompts"]["prompts"] == [{"box": {"x": 20, "y": 15, "width": 20, "height": 20}}]
    assert "api_key" not in body
    np.testing.assert_array_equal(endpoint.images[body["image_id"]], IMAGE)


def test_options_are_passed_on(backend: RemoteBackend, endpoint: FakeEndpoint) -> None:
    ask(backend, BOX, version="hiera_large", multimask_output=False)
    ((_, body),) = endpoint.requests
    assert (body["sam2_version_id"], body["multimask_output"]) == ("hiera_large", False)


def test_prompts_of_all_forms_come_back_in_order(
    backend: RemoteBackend, endpoint: FakeEndpoint
) -> None:
    """The endpoint refuses boxes among points, and pads unequal numbers of points."""
    prompts = [
        point((1, 2)),
        BOX,
        point((3, 4), (5, 6)),
        box(7),
        Prompt(box_xyxy=(0, 0, 9, 9), points=(LabeledPoint(8, 8),)),
        point((50, 30)),
    ]
    assert boxes_of(ask(backend, *prompts)) == [
        (1, 2, 1, 2),
        (10, 5, 29, 24),
        (3, 4, 3, 4),
        (7, 0, 9, 1),
        (0, 0, 7, 8),
        (50, 30, 50, 30),
    ]
    assert endpoint.uploads == 1


def test_many_prompts_share_one_upload(backend: RemoteBackend, endpoint: FakeEndpoint) -> None:
    prompts = [box(index) for index in range(300)]
    answers = ask(backend, *prompts)
    for prompt, found in zip(prompts, boxes_of(answers), strict=True):
        left, top, right, bottom = prompt.box_xyxy
        assert found == (left, top, right - 1, bottom - 1)
    assert endpoint.uploads == 1
    assert endpoint.requests[0][0] == EMBED_PATH
    sizes = [len(body["prompts"]["prompts"]) for _, body in endpoint.requests[1:]]
    assert sum(sizes) == 300
    assert max(sizes) <= 64


def test_large_image_takes_few_prompts_a_request(
    backend: RemoteBackend, endpoint: FakeEndpoint
) -> None:
    """The server makes three masks of floats at the size of the image for each prompt at once."""
    image = np.zeros((3000, 4000), np.uint8)
    ask(backend, *[box(index) for index in range(10)], image=image)
    sizes = [len(body["prompts"]["prompts"]) for _, body in endpoint.requests[1:]]
    assert max(sizes) * 3000 * 4000 * 3 * 4 <= 512 * 1024**2
    assert endpoint.uploads == 1


def test_image_is_not_sent_again(backend: RemoteBackend, endpoint: FakeEndpoint) -> None:
    ask(backend, BOX)
    ask(backend, box(3), image=IMAGE.copy())
    assert endpoint.uploads == 1
    assert endpoint.requests[0][1]["image_id"] == endpoint.requests[1][1]["image_id"]
    # Another image, and another version of the model, are.
    ask(backend, BOX, image=IMAGE[:, ::-1])
    ask(backend, BOX, version="hiera_small")
    assert endpoint.uploads == 3


@pytest.mark.parametrize("count", [1, 200])
def test_image_is_sent_again_to_a_server_that_forgot_it(
    backend: RemoteBackend, endpoint: FakeEndpoint, count: int
) -> None:
    prompts = [box(index) for index in range(count)]
    ask(backend, *prompts)
    endpoint.images.clear()
    assert boxes_of(ask(backend, *prompts))[-1] == boxes_of(ask(backend, prompts[-1]))[0]
    assert endpoint.uploads >= 2


def test_one_of_several_servers_may_never_know_the_id(
    backend: RemoteBackend, endpoint: FakeEndpoint
) -> None:
    endpoint.spoil = lambda request: (
        None if json.loads(request.content)["image"]["value"] else refuse(400, "who?")
    )
    prompts = [box(index) for index in range(150)]
    assert len(ask(backend, *prompts)) == 150


def test_embed_sends_the_image_ahead(backend: RemoteBackend, endpoint: FakeEndpoint) -> None:
    backend.embed(IMAGE, version="hiera_tiny")
    backend.embed(IMAGE, version="hiera_tiny")
    ask(backend, BOX)
    assert [path for path, _ in endpoint.requests] == [EMBED_PATH, SEGMENT_PATH]
    assert endpoint.uploads == 1


def test_embedding_under_another_id_is_no_embedding(
    backend: RemoteBackend, endpoint: FakeEndpoint
) -> None:
    endpoint.spoil = lambda request: httpx.Response(200, json={"image_id": "x", "time": 0})
    with pytest.raises(RemoteResponseError, match="did not confirm the `image_id`"):
        backend.embed(IMAGE, version="hiera_tiny")


def test_refused_key_of_one_caller_is_not_the_other_s_failure(endpoint: FakeEndpoint) -> None:
    """Both embed the same image on the same server at the same time."""
    service = endpoint.backend()._service
    arrived, both = threading.Barrier(2), []

    def spoil(request: httpx.Request) -> httpx.Response | None:
        arrived.wait(timeout=30)  # two requests: neither waits for the other's answer
        return refuse(401, "no") if b"bad-key" in request.content else None

    endpoint.spoil = spoil

    def embed(key: str) -> None:
        try:
            RemoteBackend(service, Endpoint(URL, key)).embed(IMAGE, version="hiera_tiny")
        except RemoteStatusError as error:
            both.append((key, error.status))
        else:
            both.append((key, 200))

    map_concurrently(embed, ["bad-key", "good-key"], 2)
    assert sorted(both) == [("bad-key", 401), ("good-key", 200)]


@pytest.mark.parametrize("version", sorted(set(NAMES) - set(REMOTE_NAMES)))
def test_version_that_is_not_offered_is_refused_before_any_upload(
    backend: RemoteBackend, endpoint: FakeEndpoint, version: str
) -> None:
    said = "a SAM 2 endpoint offers hiera_tiny, hiera_small, hiera_b_plus, hiera_large; got '"
    with pytest.raises(OptionError, match=said + version):
        ask(backend, BOX, version=version)
    with pytest.raises(OptionError, match=said + version):
        backend.embed(IMAGE, version=version)
    assert endpoint.requests == []


def test_refused_prompt_is_named(backend: RemoteBackend, endpoint: FakeEndpoint) -> None:
    """The index is that of the caller's prompt, not of its place in a request."""
    detail = [
        {"loc": ["body", "prompts", "prompts", 1, "points", 0, "x"], "msg": "bad", "input": 1}
    ]

    def spoil(request: httpx.Request) -> httpx.Response | None:
        has_points = b'"points"' in request.content
        return httpx.Response(422, json={"detail": detail}) if has_points else None

    endpoint.spoil = spoil
    with pytest.raises(RemoteStatusError) as caught:
        ask(backend, point((1, 2)), BOX, point((7, 8)))
    assert caught.value.prompt_index == 2
    assert str(caught.value) == (
        "http://sam2.test returned status 422: it cannot use the request. Its message:"
        " body.prompts.prompts.1.points.0.x: bad That is prompt 2 of the image, "
        + str(point((7, 8)))
        + "."
    )


def test_named_prompt_keeps_what_the_error_knows(endpoint: FakeEndpoint) -> None:
    backend = endpoint.backend(RetryPolicy(max_attempts=1))
    detail = [{"loc": ["body", "prompts", "prompts", 0], "msg": "bad"}]
    endpoint.spoil = lambda request: httpx.Response(
        503, json={"detail": detail}, headers={"Retry-After": "7"}
    )
    with pytest.raises(RemoteStatusError, match="That is prompt 0 of the image") as caught:
        ask(backend, BOX)
    error = caught.value
    assert (error.status, error.transient, error.retry_after_s) == (503, True, 7.0)
    assert (error.detail, error.prompt_index) == ("body.prompts.prompts.0: bad", 0)
    assert error.refuses_format is False


MALFORMED: dict[str, Any] = {
    "a list": [],
    "no predictions": {"time": 1},
    "predictions of another type": {"predictions": {"0": 1}},
    "too few": {"predictions": []},
    "too many": {"predictions": [{"masks": [], "confidence": 0.5}] * 2},
    "no masks": {"predictions": [{"confidence": 0.5}]},
    "no confidence": {"predictions": [{"masks": []}]},
    "confidence of text": {"predictions": [{"masks": [], "confidence": "0.5"}]},
    "confidence of nothing": {"predictions": [{"masks": [], "confidence": None}]},
    "masks of text": {"predictions": [{"masks": "xx", "confidence": 0.5}]},
    "masks of nothing": {"predictions": [{"masks": None, "confidence": 0.5}]},
    "mask of another size": {
        "predictions": [{"masks": {"size": [60, 40], "counts": "P[2"}, "confidence": 0.5}]
    },
    "mask without counts": {"predictions": [{"masks": {"size": [40, 60]}, "confidence": 0.5}]},
    "mask that is too long": {
        "predictions": [{"masks": {"size": [40, 60], "counts": "0PPPPPP1"}, "confidence": 0.5}]
    },
    "polygon that leaves the image": {
        "predictions": [{"masks": [[[0, 0], [500, 0], [0, 9]]], "confidence": 0.5}]
    },
    "polygon of three coordinates": {"predictions": [{"masks": [[[0, 0, 0]]], "confidence": 0.5}]},
    "ragged polygon": {"predictions": [{"masks": [[[0, 0], [1]]], "confidence": 0.5}]},
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_answer_is_no_answer(
    backend: RemoteBackend, endpoint: FakeEndpoint, name: str
) -> None:
    endpoint.spoil = lambda request: httpx.Response(200, json=MALFORMED[name])
    with pytest.raises(RemoteResponseError, match=r"^http://sam2\.test sent .*\.$"):
        ask(backend, BOX)
    assert len(endpoint.requests) == 1


def test_score_that_is_no_number(backend: RemoteBackend, endpoint: FakeEndpoint) -> None:
    answer = b'{"predictions": [{"masks": [], "confidence": NaN}]}'
    endpoint.spoil = lambda request: httpx.Response(200, content=answer)
    with pytest.raises(RemoteResponseError, match="prediction 0 with the confidence 'nan'"):
        ask(backend, BOX)


def test_failure_of_one_request_fails_the_image(
    backend: RemoteBackend, endpoint: FakeEndpoint
) -> None:
    endpoint.spoil = lambda request: refuse(403, "no") if b'"points"' in request.content else None
    with pytest.raises(RemoteStatusError, match="403"):
        ask(backend, BOX, point((1, 1)))


def test_image_has_one_deadline_for_all_its_tries(endpoint: FakeEndpoint) -> None:
    backend = endpoint.backend(
        # A wait is a random share of the longest: hardly ever one that the deadline has room for.
        RetryPolicy(max_attempts=50, backoff_s=86_000, max_backoff_s=86_000),
        deadline_s=60,
    )
    endpoint.spoil = lambda request: refuse(503, "later")
    with pytest.raises(RemoteTimeoutError, match="The 60 s for one image leave no time") as caught:
        ask(backend, BOX)
    assert isinstance(caught.value, RemoteError)


class Gauge:
    """Counts the requests under way, and holds each until `wanted` of them are."""

    def __init__(self, wanted: int) -> None:
        self.most = 0
        self._now = 0
        self._lock = threading.Lock()
        self._barrier = threading.Barrier(wanted)

    def __call__(self, request: httpx.Request) -> None:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        if request.url.path == SEGMENT_PATH:
            self._barrier.wait(timeout=30)
        with self._lock:
            self._now -= 1


@pytest.mark.parametrize("count", [1, 2, 4])
def test_requests_of_one_image_are_under_way_together_and_bounded(
    endpoint: FakeEndpoint, count: int
) -> None:
    backend = endpoint.backend(max_concurrent_requests=count)
    endpoint.spoil = gauge = Gauge(count)
    ask(backend, *[box(index) for index in range(64 * 8)])  # 8 requests
    assert gauge.most == count


def test_images_are_under_way_together_and_bounded(endpoint: FakeEndpoint) -> None:
    backend = endpoint.backend(max_concurrent_requests=3)
    assert backend.concurrent_images == 3
    endpoint.spoil = gauge = Gauge(3)
    images = [np.full((40, 60), index, np.uint8) for index in range(9)]
    found = map_concurrently(
        lambda image: ask(backend, box(int(image[0, 0])), image=image), images, 9
    )
    assert gauge.most == 3
    assert [boxes_of(answers)[0][0] for answers in found] == list(range(9))
