"""Send requests over the network: pools of guarded connections, direct or through a proxy."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterable, Iterator
from typing import Any

import httpcore
import httpx

from sam2_block.backends.execution import is_offline
from sam2_block.backends.remote.http.connections import GuardedBackend
from sam2_block.backends.remote.http.proxies import Proxy, ProxyRules
from sam2_block.backends.remote.http.socks import SocksBackend

_MAX_IDLE_CONNECTIONS = 64
_MAX_IDLE_S = 5.0  # httpx's own default

# Response headers to drop. httpx parses the target of a redirect even if it does not follow it, and
# fails on an invalid URL.
_DROPPED = (b"location", b"set-cookie")

DEADLINE = "sam2_block.deadline"
"""Name of the request extension that holds the request's `Deadline`."""


class NetworkTransport(httpx.BaseTransport):
    """Sends requests; used because `httpx.HTTPTransport` accepts no network backend.

    Args:
        ssl_context: Verifies servers and proxies.
        rules: Choose the proxy of each request.
    """

    def __init__(self, ssl_context: ssl.SSLContext, rules: ProxyRules) -> None:
        self._rules = rules
        self._network = GuardedBackend()
        self._pools = {
            proxy: _pool(proxy, ssl_context, self._network) for proxy in (None, *rules.proxies)
        }

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; the same thread must read its response."""
        self._network.set_deadline(request.extensions.get(DEADLINE))
        assert isinstance(request.stream, httpx.SyncByteStream)
        core_request = httpcore.Request(
            method=request.method,
            url=_core_url(request.url),
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        # While offline only servers on this machine are called; a proxy could be on another one.
        proxy = None if is_offline() else self._rules.proxy_for(request.url)
        with _httpx_errors():
            response = self._pools[proxy].handle_request(core_request)
        assert isinstance(response.stream, Iterable)
        return httpx.Response(
            status_code=response.status,
            headers=[header for header in response.headers if header[0].lower() not in _DROPPED],
            stream=_ResponseStream(response.stream),
            extensions=response.extensions,
        )

    def close(self) -> None:
        """Close all connections."""
        for pool in self._pools.values():
            pool.close()


class _ResponseStream(httpx.SyncByteStream):
    def __init__(self, stream: Iterable[bytes]) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        with _httpx_errors():
            yield from self._stream

    def close(self) -> None:
        if hasattr(self._stream, "close"):
            self._stream.close()


def _pool(
    proxy: Proxy | None, ssl_context: ssl.SSLContext, network: GuardedBackend
) -> httpcore.ConnectionPool:
    common: dict[str, Any] = {
        "ssl_context": ssl_context,
        "max_connections": None,
        "max_keepalive_connections": _MAX_IDLE_CONNECTIONS,
        "keepalive_expiry": _MAX_IDLE_S,
    }
    if proxy is None:
        return httpcore.ConnectionPool(**common, network_backend=network)
    if proxy.is_socks:
        return httpcore.ConnectionPool(**common, network_backend=SocksBackend(network, proxy))
    return httpcore.HTTPProxy(
        proxy_url=_core_url(proxy.url),
        proxy_auth=proxy.credentials,
        proxy_ssl_context=ssl_context if proxy.url.scheme == "https" else None,
        **common,
        network_backend=network,
    )


def _core_url(url: httpx.URL) -> httpcore.URL:
    return httpcore.URL(
        scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
    )


@contextlib.contextmanager
def _httpx_errors() -> Iterator[None]:
    """Convert httpcore's errors to httpx's, which have the same names."""
    try:
        yield
    except (
        httpcore.TimeoutException,
        httpcore.NetworkError,
        httpcore.ProtocolError,
        httpcore.ProxyError,
        httpcore.UnsupportedProtocol,
    ) as error:
        kind: type[httpx.RequestError] = getattr(httpx, type(error).__name__)
        raise kind(str(error)) from error
