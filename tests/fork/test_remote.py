"""A remote segmenter that its parent has used: the child opens a connection of its own."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fork.scripts import run_script
from tests.unit.remote.fake_endpoint import FakeEndpoint

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")


class Server(ThreadingHTTPServer):
    """A SAM 2 endpoint on the loopback device that keeps connections open.

    Attributes:
        ports: Of the client, of every request in order: one a connection.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.endpoint = FakeEndpoint()
        self.ports: list[int] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.ports.append(self.client_address[1])
        response = self.server.endpoint(
            httpx.Request("POST", self.server.url + self.path, content=content)
        )
        self.send_response(response.status_code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(response.content)))
        self.end_headers()
        self.wfile.write(response.content)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield running
        running.shutdown()


def test_a_child_has_connections_of_its_own_and_the_parent_keeps_its(server: Server) -> None:
    lines = run_script(
        """
segmenter = Segmenter.remote("hiera_tiny", api_url=sys.argv[1])
expected = area(segmenter)
check("a child", expected, in_a_child(lambda: area(segmenter)))
check("another", expected, in_a_child(lambda: area(Segmenter.remote(api_url=sys.argv[1]))))
check("the parent", expected, area(segmenter))
""",
        server.url,
    )
    assert lines == ["a child", "another", "the parent"]
    parent, child, another, again = server.ports
    assert again == parent
    assert len({parent, child, another}) == 3


def test_requests_under_way_are_the_parents(server: Server, tmp_path: Path) -> None:
    """Both of the requests that may be under way hang, and a child is not bound by them."""
    both_hang, may_end = tmp_path / "both hang", threading.Event()
    requests = itertools.count(1)

    def hold(request: httpx.Request) -> None:
        number = next(requests)
        if number == 2:
            both_hang.touch()
        if number > 2:
            may_end.set()  # the child has come through
        assert may_end.wait(120)

    server.endpoint.spoil = hold
    lines = run_script(
        """
segmenter = Segmenter.remote("hiera_tiny", api_url=sys.argv[1])
areas = []
threads = [in_a_thread(lambda seed=seed: areas.append(area(segmenter, seed))) for seed in (1, 2)]
while not os.path.exists(sys.argv[2]):
    time.sleep(0.01)
got = in_a_child(lambda: area(segmenter, 3))
for thread in threads:
    thread.join()
check("a child", areas[0], got)
check("the parent", 2, len(areas))
""",
        server.url,
        str(both_hang),
        SAM2_BLOCK_MAX_CONCURRENT_REQUESTS="2",
    )
    assert lines == ["a child", "the parent"]
