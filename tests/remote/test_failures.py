"""What a network and a server can do wrong, in front of the real one: one clear error, or none."""

from __future__ import annotations

import json
import math
import re
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from sam2_block.backends.remote.endpoints import Endpoint
from sam2_block.backends.remote.http.client import HttpClient
from sam2_block.backends.remote.http.retry import RetryPolicy
from sam2_block.backends.remote.remote_backend import (
    EMBED_PATH,
    SEGMENT_PATH,
    RemoteBackend,
    RemoteService,
)
from sam2_block.errors import (
    RemoteConnectionError,
    RemoteError,
    RemoteResponseError,
    RemoteStatusError,
    RemoteTimeoutError,
)
from sam2_block.prompts import Prompt
from sam2_block.settings import RemoteSettings
from tests.remote.faulty_proxy import (
    DROP,
    HTML,
    NOT_HTTP,
    NOT_JSON,
    RESET,
    RESET_IN_BODY,
    TRUNCATE,
    Fault,
    FaultyProxy,
    status,
)
from tests.remote.server import VERSION, Sam2Server

KEY = "rf_0123456789abcdef"
IMAGE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
PROMPT = Prompt(box_xyxy=(8.0, 8.0, 40.0, 40.0))

# Quick, where a test is about what happens in the end.
QUICK = RetryPolicy(backoff_s=0.001, max_backoff_s=0.002)


@pytest.fixture
def connect() -> Iterator[Callable[..., RemoteBackend]]:
    services: list[RemoteService] = []

    def make(
        url: str, *, deadline_s: float = 60, retry_policy: RetryPolicy = QUICK
    ) -> RemoteBackend:
        settings = RemoteSettings(deadline_s=deadline_s)
        client = HttpClient(settings, retry_policy=retry_policy)
        services.append(RemoteService(settings, client))
        return RemoteBackend(services[-1], Endpoint(url, KEY, "the key of the test"))

    yield make
    for service in services:
        service.close()


def ask(backend: RemoteBackend, *prompts: Prompt) -> Any:
    return backend.predict(IMAGE, prompts or [PROMPT], version=VERSION, multimask_output=True)


def always(fault: Fault) -> Callable[[int, str], Fault]:
    return lambda number, path: fault


def first(fault: Fault, count: int) -> Callable[[int, str], Fault | None]:
    return lambda number, path: fault if number < count else None


TRANSIENT = {
    "dropped": DROP,
    "reset": RESET,
    "truncated": TRUNCATE,
    "reset in the body": RESET_IN_BODY,
    "not HTTP": NOT_HTTP,
    **{str(code): status(code, {"message": "later"}) for code in (408, 425, 429, 500, 502, 503)},
    "504 with Retry-After": status(504, {"message": "later"}, Retry_After="0"),
}


@pytest.mark.parametrize("name", TRANSIENT)
def test_what_passes_is_waited_out(
    sam2_server: Sam2Server, connect: Callable[..., RemoteBackend], name: str
) -> None:
    expected = ask(connect(sam2_server.url))[0]
    with FaultyProxy(sam2_server.url, first(TRANSIENT[name], 3)) as proxy:
        (answer,) = ask(connect(proxy.url))
    assert len(proxy.log) == 4
    assert answer.score == expected.score
    np.testing.assert_array_equal(answer.mask().crop, expected.mask().crop)


def rewritten(change: Callable[[dict[str, Any]], Any]) -> Fault:
    """Change the first prediction of an answer."""

    def rewrite(answer: Any) -> Any:
        change(answer["predictions"][0])
        return answer

    return Fault(rewrite=rewrite)


FATAL: dict[str, tuple[Fault, type[RemoteError], str, int]] = {
    # fault, error, message, requests
    "dropped": (DROP, RemoteConnectionError, r"the connection to {url} broke \(", 4),
    "reset": (RESET, RemoteConnectionError, r"the connection to {url} broke \(ReadError", 4),
    "truncated": (TRUNCATE, RemoteConnectionError, r"the connection to {url} broke", 4),
    "reset in the body": (RESET_IN_BODY, RemoteConnectionError, "the connection to {url} broke", 4),
    "not HTTP": (NOT_HTTP, RemoteConnectionError, "the connection to {url} broke", 4),
    "401": (
        status(401, {"message": f"unknown key {KEY}"}),
        RemoteStatusError,
        r"{url} returned status 401: it does not accept the key \(the key of the test\)\. Its"
        r" message: unknown key \*\*\*",
        1,
    ),
    "403": (status(403, {}), RemoteStatusError, "403: it does not accept the key", 1),
    "404": (
        status(404, {"detail": "Not Found"}),
        RemoteStatusError,
        "SAM 2 is not enabled there.* CORE_MODEL_SAM2_ENABLED=True.*Its message: Not Found",
        1,
    ),
    "413": (
        status(413, {}),
        RemoteStatusError,
        "the image is too large for it.*SAM2_BLOCK_UPLOAD_FORMAT=jpeg",
        1,
    ),
    "422": (
        status(422, {"detail": [{"loc": ["body", "prompts", 0, "box"], "msg": "bad box"}]}),
        RemoteStatusError,
        r"bad box That is prompt 0 of the image, Prompt\(box_xyxy=\(8",
        1,
    ),
    "302": (
        status(302, {}, Location="http://127.0.0.1:1/steal"),
        RemoteStatusError,
        "302: redirects are not followed",
        1,
    ),
    "429": (
        status(429, {"message": "slow down"}),
        RemoteStatusError,
        "too many requests. Lower SAM2_BLOCK_MAX_CONCURRENT_REQUESTS.* Its message: slow down",
        4,
    ),
    "429, come back tomorrow": (
        status(429, {}, Retry_After="86400"),
        RemoteTimeoutError,
        r"429.* The 60 s for one image leave no time for another attempt \(SAM2_BLOCK_DEADLINE_S\)",
        1,
    ),
    "500": (status(500, {"message": "boom"}), RemoteStatusError, "failed. Its message: boom", 4),
    # Four tries, and four for polygons: a server from before RLE fails so.
    "500 without a reason": (
        status(500, {"message": "Internal error."}),
        RemoteStatusError,
        "failed. Its message: Internal error",
        8,
    ),
    "500, SAM 2 switched off": (
        status(500, {"message": "Service misconfiguration."}),
        RemoteStatusError,
        "CORE_MODEL_SAM2_ENABLED=True.*Its message: Service misconfiguration",
        1,
    ),
    "500, no such version": (
        status(500, {"message": "Could not retrieve model No offline-weights record found"}),
        RemoteStatusError,
        "it does not have this version of SAM 2.*Its message: Could not retrieve",
        1,
    ),
    "503": (status(503, "<html>"), RemoteStatusError, "503: it failed", 4),
    "not JSON": (NOT_JSON, RemoteResponseError, "a response that is not JSON", 1),
    "HTML": (HTML, RemoteResponseError, "not JSON. Is it an inference server", 1),
    "no predictions": (
        Fault(rewrite=lambda answer: {"time": 1}),
        RemoteResponseError,
        "{url} sent a response without a list `predictions`",
        1,
    ),
    "wrong number of predictions": (
        Fault(rewrite=lambda answer: {"predictions": answer["predictions"] * 2}),
        RemoteResponseError,
        "{url} sent 2 predictions for 1 prompts",
        1,
    ),
    "missing field": (
        rewritten(lambda one: one.pop("confidence")),
        RemoteResponseError,
        "prediction 0 without `masks` and `confidence`",
        1,
    ),
    "score that is no number": (
        rewritten(lambda one: one.update(confidence=math.nan)),
        RemoteResponseError,
        "prediction 0 with the confidence 'nan'",
        1,
    ),
    "mask of another size": (
        rewritten(lambda one: one["masks"].update(size=[64, 48])),
        RemoteResponseError,
        r"cannot be decoded: a size other than \[48, 64\]",
        1,
    ),
    "mask cut short": (
        rewritten(lambda one: one["masks"].update(counts=one["masks"]["counts"][:-3])),
        RemoteResponseError,
        "prediction 0 with a mask that cannot be decoded",
        1,
    ),
}


@pytest.mark.parametrize("name", FATAL)
def test_what_does_not_pass_is_one_clear_error(
    sam2_server: Sam2Server, connect: Callable[..., RemoteBackend], name: str
) -> None:
    fault, kind, message, requests = FATAL[name]
    with FaultyProxy(sam2_server.url, always(fault)) as proxy, pytest.raises(kind) as caught:
        ask(connect(proxy.url))
    assert type(caught.value) is kind
    assert re.search(message.replace("{url}", re.escape(proxy.url)), str(caught.value))
    assert len(proxy.log) == requests
    assert KEY not in "".join(traceback.format_exception(caught.value))
    # The key was in the body of every request, and nowhere else.
    for received in proxy.log:
        assert json.loads(received.body)["api_key"] == KEY
        assert KEY not in received.path + str(received.headers)


SLOW = {
    "silent": (Fault(delay_s=600), r"sent nothing for too long|did not respond"),
    "headers drip": (Fault(trickle="headers", pause_s=0.2), "did not respond|sent nothing"),
    "body drips": (Fault(trickle="body", pause_s=0.2), "did not respond|sent nothing"),
}


@pytest.mark.parametrize("name", SLOW)
def test_call_ends_however_slow_the_answer(
    sam2_server: Sam2Server, connect: Callable[..., RemoteBackend], name: str
) -> None:
    fault, message = SLOW[name]
    ask(connect(sam2_server.url))  # so that the server itself is quick
    with (
        FaultyProxy(sam2_server.url, always(fault)) as proxy,
        pytest.raises(RemoteTimeoutError, match=message),
    ):
        ask(connect(proxy.url, deadline_s=4, retry_policy=RetryPolicy(max_attempts=1)))


def test_nobody_listens(connect: Callable[..., RemoteBackend]) -> None:
    with pytest.raises(RemoteConnectionError, match=r"no connection to http://127\.0\.0\.1:1 \("):
        ask(connect("http://127.0.0.1:1"))


def test_server_that_speaks_no_tls(
    sam2_server: Sam2Server, connect: Callable[..., RemoteBackend]
) -> None:
    with pytest.raises(RemoteConnectionError, match=r"no connection to https://127\.0\.0\.1"):
        ask(connect(sam2_server.url.replace("http:", "https:")))


def test_embedding_that_fails_is_an_error_of_the_image(
    sam2_server: Sam2Server, connect: Callable[..., RemoteBackend]
) -> None:
    def plan(number: int, path: str) -> Fault | None:
        return status(403, {}) if path == EMBED_PATH else None

    with (
        FaultyProxy(sam2_server.url, plan) as proxy,
        pytest.raises(RemoteStatusError, match="403"),
    ):
        ask(connect(proxy.url), *[PROMPT] * 65)


def test_server_that_forgot_the_image_gets_it_again(
    sam2_server: Sam2Server, connect: Callable[..., RemoteBackend]
) -> None:
    """A server that was restarted in between: the real one's own answer to an unknown id."""
    with FaultyProxy(sam2_server.url, lambda number, path: None) as proxy:
        backend = connect(proxy.url)
        image = IMAGE[::-1].copy()
        upload = backend._upload(image, VERSION)
        backend._service.known_images.add(backend._key(upload))  # it was never sent
        (answer,) = backend.predict(image, [PROMPT], version=VERSION, multimask_output=True)
        (again,) = backend.predict(image, [PROMPT], version=VERSION, multimask_output=True)
    sent = [bool(json.loads(received.body)["image"]["value"]) for received in proxy.log]
    assert sent == [False, True, False]
    assert again.score == pytest.approx(answer.score, abs=1e-6)


def test_one_upload_for_many_prompts(
    sam2_server: Sam2Server, connect: Callable[..., RemoteBackend]
) -> None:
    prompts = [Prompt(box_xyxy=(i % 30, i // 30, i % 30 + 9.0, i // 30 + 9.0)) for i in range(70)]
    with FaultyProxy(sam2_server.url, lambda number, path: None) as proxy:
        backend = connect(proxy.url)
        backend.embed(IMAGE, version=VERSION)
        answers = ask(backend, *prompts)
    assert len(answers) == 70
    assert [received.path for received in proxy.log] == [EMBED_PATH, *[SEGMENT_PATH] * 2]
    sent = [bool(json.loads(received.body)["image"]["value"]) for received in proxy.log]
    assert sent == [True, False, False]
