"""A server that answers as it is told, and a clock that moves by sleeping."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx

from sam2_block.backends.remote.http.retry import Deadline

URL = "http://sam2.test/prefix"
Answer = httpx.Response | Exception
Post = Callable[..., Any]


class Server:
    """Gives its answers one after another, the last one for ever, and keeps the requests."""

    def __init__(self, *answers: Answer | Callable[[httpx.Request], Answer]) -> None:
        self._answers = answers
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        answer = self._answers[min(len(self.requests), len(self._answers) - 1)]
        self.requests.append(request)
        if not isinstance(answer, httpx.Response | Exception):
            answer = answer(request)
        if isinstance(answer, Exception):
            raise answer
        return answer


class Transport(httpx.MockTransport):
    """Hands out responses as the network does: not read yet, as httpx reads those made of bytes."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = super().handle_request(request)
        if not response.is_stream_consumed:
            return response
        return httpx.Response(
            response.status_code,
            headers=response.headers,
            stream=httpx.ByteStream(response.content),
        )


class Clock:
    """Time that passes by sleeping only."""

    def __init__(self) -> None:
        self.now = 0.0
        self.sleeps: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.now += seconds

    def deadline(self, seconds: float) -> Deadline:
        return Deadline(seconds, clock=lambda: self.now)


def ok(content: Any = None, **headers: str) -> httpx.Response:
    return httpx.Response(200, json={"fine": True} if content is None else content, headers=headers)
