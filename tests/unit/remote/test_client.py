from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest

from sam2_block.backends.remote.endpoints import Endpoint
from sam2_block.backends.remote.http.call import PIECE_BYTES
from sam2_block.backends.remote.http.client import HttpClient
from sam2_block.backends.remote.http.retry import TRANSIENT_STATUSES, Deadline
from sam2_block.errors import RemoteStatusError, RemoteTimeoutError
from sam2_block.settings import RemoteSettings
from tests.unit.remote.scripted_server import URL, Clock, Post, Server, Transport, ok


def test_request_and_answer(post: Post) -> None:
    server = Server(ok({"masks": [1, None, "x"]}))
    assert post(server, key="k3y") == {"masks": [1, None, "x"]}
    (request,) = server.requests
    assert (request.method, str(request.url)) == ("POST", f"{URL}/sam2/x")
    assert json.loads(request.content) == {"a": [1, "\u00e4"], "api_key": "k3y"}
    assert request.headers["Content-Type"] == "application/json"
    # The length is known: not every proxy takes a body in chunks.
    assert request.headers["Content-Length"] == str(len(request.content))
    assert "Transfer-Encoding" not in request.headers


def test_no_key_is_sent_where_there_is_none(post: Post) -> None:
    server = Server(ok())
    post(server)
    assert json.loads(server.requests[0].content) == {"a": [1, "\u00e4"]}


LARGE = {"image": "x" * (3 * PIECE_BYTES + 1)}


def test_large_body_arrives_whole() -> None:
    server = Server(ok())
    client = HttpClient(RemoteSettings(), transport=Transport(server))
    client.post(Endpoint(URL), "/x", LARGE, Deadline(1000))
    assert json.loads(server.requests[0].content) == LARGE
    client.close()


def test_server_that_takes_a_body_slowly_is_given_up_at_the_deadline() -> None:
    client = HttpClient(RemoteSettings(), transport=Transport(Server(ok())))
    ticks = iter(range(100))  # one second with every look at the clock
    with pytest.raises(RemoteTimeoutError, match="did not respond within the 4 s"):
        client.post(Endpoint(URL), "/x", LARGE, Deadline(4, clock=lambda: next(ticks)))
    assert next(ticks) == 5
    client.close()


@pytest.mark.parametrize("status", sorted(TRANSIENT_STATUSES))
def test_answer_that_may_pass_is_asked_for_again(status: int, post: Post, clock: Clock) -> None:
    server = Server(httpx.Response(status), httpx.Response(status), ok())
    assert post(server, backoff_s=0.5) == {"fine": True}
    assert clock.sleeps == [0.5, 1.0]
    bodies = {request.content for request in server.requests}
    assert (len(server.requests), len(bodies)) == (3, 1)


@pytest.mark.parametrize("status", sorted({*range(300, 512)} - TRANSIENT_STATUSES))
def test_no_other_answer_is_asked_for_again(status: int, post: Post, clock: Clock) -> None:
    headers = {"Location": "http://elsewhere.test/", "Retry-After": "1"}
    server = Server(httpx.Response(status, headers=headers), ok())
    with pytest.raises(RemoteStatusError, match=f"^{URL} returned status {status}: ") as caught:
        post(server, key="k3y")
    assert caught.value.status == status
    # Nor is a redirect followed.
    assert [str(request.url) for request in server.requests] == [f"{URL}/sam2/x"]
    assert clock.sleeps == []


@pytest.mark.parametrize("status", [201, 202, 204, 206, 299])
def test_success_of_another_kind_is_none(status: int, post: Post) -> None:
    with pytest.raises(RemoteStatusError, match=rf"returned status {status}: expected 200\."):
        post(Server(httpx.Response(status, json={"fine": True})))


def test_last_failure_is_raised_when_the_tries_are_over(post: Post, clock: Clock) -> None:
    server = Server(httpx.ConnectError("refused"), httpx.Response(503, json={"message": "busy"}))
    with pytest.raises(
        RemoteStatusError, match=r"returned status 503: it failed\. Its message: busy$"
    ):
        post(server, max_attempts=5, backoff_s=1, max_backoff_s=3)
    assert len(server.requests) == 5
    assert clock.sleeps == [1, 2, 3, 3]


@pytest.mark.parametrize(
    ("header", "sleep"),
    [("7", 7.0), ("0", 0.5), ("soon", 0.5), ("-3", 0.5), ("Thu, 01 Jan 1970 00:00:00 GMT", 0.5)],
)
@pytest.mark.parametrize("status", [429, 503])
def test_server_says_when(header: str, sleep: float, status: int, post: Post, clock: Clock) -> None:
    server = Server(httpx.Response(status, headers={"Retry-After": header}), ok())
    post(server, backoff_s=0.5)
    assert clock.sleeps == [sleep]


@pytest.mark.parametrize("header", ["10", "11", "9" * 300, "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_wait_beyond_the_deadline_is_not_begun(header: str, post: Post, clock: Clock) -> None:
    server = Server(httpx.Response(503, headers={"Retry-After": header}), ok())
    with pytest.raises(RemoteTimeoutError) as caught:
        post(server, seconds=10)
    assert str(caught.value) == (
        f"{URL} returned status 503: it failed. The 10 s for one image leave no time for another"
        " attempt (SAM2_BLOCK_DEADLINE_S)."
    )
    assert (len(server.requests), clock.sleeps) == (1, [])
    # What the server said is not lost.
    assert caught.value.transient
    assert caught.value.retry_after_s >= 10


def test_sleeps_and_tries_end_before_the_deadline(post: Post, clock: Clock) -> None:
    starts = []

    def fail(request: httpx.Request) -> httpx.Response:
        starts.append(clock.now)
        clock.now += 1
        return httpx.Response(503)

    with pytest.raises(RemoteTimeoutError, match="leave no time for another attempt"):
        post(Server(fail), seconds=30, max_attempts=1000, backoff_s=1, max_backoff_s=4)
    # Waits of 1, 2, 4, 4, ... s between tries of 1 s; the next would begin at 34.
    assert starts == [0, 2, 5, 10, 15, 20, 25]
    assert clock.now == 26


def test_no_connection_is_made_after_the_deadline() -> None:
    class Network(httpx.BaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            raise AssertionError("connected")

    client = HttpClient(RemoteSettings(), transport=Network())
    with pytest.raises(RemoteTimeoutError, match="did not respond within the 0 s"):
        client.post(Endpoint(URL), "/x", {}, Deadline(0))
    client.close()


@pytest.mark.parametrize("seconds", [0, -5])
def test_no_try_begins_after_the_deadline(seconds: float, post: Post) -> None:
    server = Server(ok())
    with pytest.raises(RemoteTimeoutError) as caught:
        post(server, seconds=seconds)
    assert str(caught.value) == (
        f"{URL} did not respond within the {seconds} s for one image (SAM2_BLOCK_DEADLINE_S)."
    )
    assert server.requests == []


def test_oversleeping_is_no_reason_to_try(post: Post, clock: Clock) -> None:
    slept = clock.sleep
    clock.sleep = lambda seconds: slept(seconds + 5)
    server = Server(httpx.Response(503, headers={"Retry-After": "9"}), ok())
    with pytest.raises(RemoteTimeoutError, match="did not respond within the 10 s"):
        post(server, seconds=10)
    assert len(server.requests) == 1


def test_answer_that_drips_in_is_given_up_at_the_deadline(post: Post, clock: Clock) -> None:
    def drips() -> Iterator[bytes]:
        for _ in range(1000):
            clock.now += 1
            yield b" "

    server = Server(lambda request: httpx.Response(200, content=drips()))
    with pytest.raises(RemoteTimeoutError, match="did not respond within the 10 s"):
        post(server, seconds=10)
    assert clock.now == 10


def test_timeouts_shrink_with_the_time_left(post: Post, clock: Clock) -> None:
    server = Server(httpx.Response(503, headers={"Retry-After": "15"}), ok())
    post(server, seconds=20)
    first, second = (request.extensions["timeout"] for request in server.requests)
    assert first == {"connect": 10, "read": 20, "write": 20, "pool": 20}
    assert second == {"connect": 5, "read": 5, "write": 5, "pool": 5}
