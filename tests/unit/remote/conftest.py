"""A client of a scripted server in a time of its own, and a backend of a fake endpoint."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from sam2_block.backends.remote.endpoints import Endpoint
from sam2_block.backends.remote.http.client import HttpClient
from sam2_block.backends.remote.http.retry import RetryPolicy
from sam2_block.backends.remote.remote_backend import RemoteBackend
from sam2_block.settings import RemoteSettings
from tests.unit.remote.fake_endpoint import FakeEndpoint
from tests.unit.remote.scripted_server import URL, Clock, Post, Server, Transport


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def post(clock: Clock) -> Iterator[Post]:
    """Send one request to a server; the waits are the longest that chance may choose."""
    clients = []

    def send(
        server: Server, *, key: str | None = None, seconds: float = 1000, **policy: Any
    ) -> Any:
        client = HttpClient(
            RemoteSettings(),
            retry_policy=RetryPolicy(jitter=lambda: 1.0, **policy),
            transport=Transport(server),
            sleep=clock.sleep,
        )
        clients.append(client)
        endpoint = Endpoint(URL, key)
        return client.post(endpoint, "/sam2/x", {"a": [1, "\u00e4"]}, clock.deadline(seconds))

    yield send
    for client in clients:
        client.close()


@pytest.fixture
def endpoint() -> FakeEndpoint:
    return FakeEndpoint()


@pytest.fixture
def backend(endpoint: FakeEndpoint) -> Iterator[RemoteBackend]:
    backend = endpoint.backend()
    yield backend
    backend._service.close()
