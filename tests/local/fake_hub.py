"""A Hugging Face Hub on loopback that has one file, and can break off in the middle of it."""

from __future__ import annotations

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class FakeHub:
    """Serves one file under the Hub's paths.

    Attributes:
        requests: `(method, path, Range header)` of every request so far.
        break_after: Bytes after which the next download is cut, once; None for never.
        status: Of every response, where it is an error; None for none.
        etag: Digest that it gives; None for the content's own.
    """

    def __init__(self, repo: str, filename: str, content: bytes) -> None:
        self.path = f"/{repo}/resolve/main/{filename}"
        self.content = content
        self.requests: list[tuple[str, str, str | None]] = []
        self.break_after: int | None = None
        self.status: int | None = None
        self.etag: str | None = None
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    def downloads(self) -> list[str | None]:
        """Return the Range header of each download."""
        return [header for method, _, header in self.requests if method == "GET"]

    def __enter__(self) -> FakeHub:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(hub) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - `self` is the request
        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self._start()

            def do_GET(self) -> None:
                start = self._start()
                if start is None:
                    return
                end, hub.break_after = hub.break_after, None
                self.wfile.write(hub.content[start:end])
                if end is not None:
                    self.close_connection = True

            def _start(self) -> int | None:
                wanted = self.headers.get("Range")
                hub.requests.append((self.command, self.path, wanted))
                if self.path != hub.path or hub.status:
                    self.send_response(hub.status or 404)
                    if not hub.status:
                        self.send_header("X-Error-Code", "EntryNotFound")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return None
                start = int(wanted.removeprefix("bytes=").split("-")[0]) if wanted else 0
                self.send_response(206 if wanted else 200)
                self.send_header("ETag", f'"{hub.etag or hub.digest}"')
                self.send_header("X-Repo-Commit", "0" * 40)
                self.send_header("Content-Length", str(len(hub.content) - start))
                if wanted:
                    size = len(hub.content)
                    self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
                self.end_headers()
                return start

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        return Handler
