"""A day in production: 200 images, eight at a time, and a fault on one request in five."""

from __future__ import annotations

import random
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from sam2_block.backends.remote.endpoints import Endpoint
from sam2_block.backends.remote.http.client import HttpClient
from sam2_block.backends.remote.http.retry import RetryPolicy
from sam2_block.backends.remote.recent_keys import RecentKeys
from sam2_block.backends.remote.remote_backend import (
    EMBED_PATH,
    SEGMENT_PATH,
    RemoteBackend,
    RemoteService,
)
from sam2_block.errors import RemoteError, RemoteTimeoutError
from sam2_block.prompts import LabeledPoint, Prompt
from sam2_block.settings import RemoteSettings
from tests.remote.faulty_proxy import (
    DROP,
    NOT_JSON,
    RESET,
    RESET_IN_BODY,
    TRUNCATE,
    Fault,
    FaultyProxy,
    status,
)
from tests.remote.server import VERSION, Sam2Server

IMAGES, CONTENTS, AT_ONCE = 200, 12, 8

FAULTS = [
    Fault(delay_s=0.05),
    DROP,
    RESET,
    TRUNCATE,
    RESET_IN_BODY,
    NOT_JSON,
    status(429, {"message": "slow down"}, Retry_After="0"),
    status(500, {"message": "boom"}),
    status(503, {"message": "later"}),
]


class Plan:
    """A fault on one request in five, and now and then a burst in which every request fails."""

    def __init__(self) -> None:
        self._random = random.Random(7)
        self._burst = 0

    def __call__(self, number: int, path: str) -> Fault | None:
        if self._burst:
            self._burst -= 1
            return status(502, {"message": "burst"})
        if self._random.random() >= 0.2:
            return None
        if self._random.random() < 0.03:
            self._burst = 25
        return self._random.choice(FAULTS)


def content(index: int) -> np.ndarray:
    """Draw a picture that no other index has; SAM 2 takes seconds for each new one."""
    return np.random.default_rng(index).integers(0, 256, (48, 64, 3), dtype=np.uint8)


def prompts(number: int) -> list[Prompt]:
    """Make prompts that no other image of the same content has.

    One in three has a box and a point: two requests, and an upload of its own before them.
    """
    left, top = 1.0 + number % 25, 1.0 + number // 25 % 20
    box = Prompt(box_xyxy=(left, top, left + 24, top + 20))
    point = Prompt(points=(LabeledPoint(left + 12, top + 10),))
    return [box, point] if number % 3 == 0 else [box]


def answers_in_calm(url: str) -> list[list[Any]]:
    """Ask the server itself, all prompts of one content together."""
    service = RemoteService(RemoteSettings())
    answers: dict[int, list[Any]] = {}
    for index in range(CONTENTS):
        numbers = range(index, IMAGES, CONTENTS)
        every = [(number, prompt) for number in numbers for prompt in prompts(number)]
        found = RemoteBackend(service, Endpoint(url)).predict(
            content(index),
            [prompt for _, prompt in every],
            version=VERSION,
            multimask_output=True,
        )
        for (number, _), answer in zip(every, found, strict=True):
            answers.setdefault(number, []).append(answer)
    service.close()
    return [answers[number] for number in range(IMAGES)]


def iou(one: Any, other: Any) -> float:
    masks = np.zeros((2, 48, 64), dtype=bool)
    one.mask().paste_into(masks[0])
    other.mask().paste_into(masks[1])
    return float((masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum())


@pytest.mark.slow
def test_no_image_is_lost_doubled_or_crossed(sam2_server: Sam2Server) -> None:
    expected = answers_in_calm(sam2_server.url)
    # Each has an answer of its own, so that one taken for another shows.
    assert len({answers[0].score for answers in expected}) > IMAGES * 0.9

    with FaultyProxy(sam2_server.url, Plan()) as proxy:
        settings = RemoteSettings(deadline_s=300)
        quick = RetryPolicy(max_attempts=3, backoff_s=0.01, max_backoff_s=0.05)
        service = RemoteService(settings, HttpClient(settings, retry_policy=quick))
        # It remembers half of the images, so that the others go up again and again.
        service.known_images = RecentKeys(CONTENTS // 2)
        backend = RemoteBackend(service, Endpoint(proxy.url))

        def outcome(number: int) -> list[Any] | RemoteError:
            image = content(number % CONTENTS)
            try:
                return backend.predict(
                    image, prompts(number), version=VERSION, multimask_output=True
                )
            except RemoteError as error:
                return error

        with ThreadPoolExecutor(AT_ONCE) as threads:
            outcomes = list(threads.map(outcome, range(IMAGES)))
        service.close()

    failed = [outcome for outcome in outcomes if isinstance(outcome, RemoteError)]
    for answers, wanted in zip(outcomes, expected, strict=True):
        if not isinstance(answers, RemoteError):
            assert len(answers) == len(wanted)
            for one, other in zip(answers, wanted, strict=True):
                assert one.score == pytest.approx(other.score, abs=1e-5)
                assert iou(one, other) >= 0.99
    for error in failed:
        assert re.match(re.escape(proxy.url), str(error).removeprefix("the connection to "))
        assert not isinstance(error, RemoteTimeoutError)
    # Faults there were, of every kind and on every path, and tries again; most images came through.
    faulty = [received for received in proxy.log if received.fault]
    assert {received.fault for received in faulty} > set(FAULTS)
    assert {received.path for received in faulty} == {EMBED_PATH, SEGMENT_PATH}
    assert 0 < len(failed) < IMAGES * 0.25
    assert len(proxy.log) > IMAGES + len(failed)
    # Uploads were spared, and made again where the image was forgotten.
    uploads = sum(b'"value": ""' not in received.body for received in proxy.log)
    assert CONTENTS < uploads < len(proxy.log)
