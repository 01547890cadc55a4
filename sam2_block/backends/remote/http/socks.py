"""TCP connections through a SOCKS5 proxy (RFC 1928), with a user and a password (RFC 1929).

httpcore's own SOCKS pool is not used: it logs the password at DEBUG, and its handshake uses the
stream of the requests, where it would be parsed as a response.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

import httpcore

from sam2_block.backends.remote.http.connections import GuardedBackend, TimedStream
from sam2_block.backends.remote.http.proxies import Proxy

_DEFAULT_PORT = 1080
_VERSION, _CONNECT = 5, 1
_NO_CREDENTIALS, _PASSWORD = 0, 2
_IPV4, _NAME, _IPV6 = 1, 3, 4


class SocksBackend(httpcore.NetworkBackend):
    """Opens connections through a proxy, which also resolves the names of servers.

    Args:
        network: Opens the connections to the proxy.
        proxy: The proxy.
    """

    def __init__(self, network: GuardedBackend, proxy: Proxy) -> None:
        self._network = network
        self._proxy = proxy

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Open a TCP connection to a server.

        Raises:
            httpcore.ProxyError: The proxy refuses, or is not a SOCKS5 proxy.
        """
        url = self._proxy.url
        stream = self._network.open(
            url.host, url.port or _DEFAULT_PORT, timeout, local_address, socket_options
        )
        try:
            _handshake(_Messages(stream, timeout), self._proxy, host, port)
        except BaseException:
            stream.close()
            raise
        return self._network.guarded(stream)


class _Messages:
    """Sends and receives whole messages."""

    def __init__(self, stream: TimedStream, timeout: float | None) -> None:
        self._stream = stream
        self._timeout = timeout

    def send(self, message: bytes) -> None:
        self._stream.write(message, self._timeout)

    def receive(self, count: int) -> bytes:
        """Return exactly `count` bytes: those after the handshake are the server's."""
        received = b""
        while len(received) < count:
            piece = self._stream.read(count - len(received), self._timeout)
            if not piece:
                raise httpcore.ProxyError("the SOCKS proxy closed the connection")
            received += piece
        return received


def _handshake(messages: _Messages, proxy: Proxy, host: str, port: int) -> None:
    """Log in and have the proxy connect to a server. No error quotes bytes from the proxy."""
    methods = [_NO_CREDENTIALS] if proxy.credentials is None else [_NO_CREDENTIALS, _PASSWORD]
    messages.send(bytes([_VERSION, len(methods), *methods]))
    version, method = messages.receive(2)
    if version != _VERSION:
        raise httpcore.ProxyError("the proxy does not use SOCKS5")
    if method not in methods:
        raise httpcore.ProxyError("the SOCKS proxy accepts none of the offered login methods")
    if method == _PASSWORD and proxy.credentials is not None:
        user, password = proxy.credentials
        messages.send(bytes([1, len(user)]) + user + bytes([len(password)]) + password)
        if messages.receive(2)[1] != 0:
            raise httpcore.ProxyError("the SOCKS proxy did not accept the user and the password")
    messages.send(bytes([_VERSION, _CONNECT, 0]) + _address(host) + port.to_bytes(2, "big"))
    _, reply, _, kind = messages.receive(4)
    if reply != 0:
        raise httpcore.ProxyError(f"the SOCKS proxy could not reach the server (reply {reply})")
    # The proxy's own address and port, which are not needed.
    length = {_IPV4: 4, _IPV6: 16}.get(kind) or messages.receive(1)[0]
    messages.receive(length + 2)


def _address(host: str) -> bytes:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        name = host.encode("ascii")
        return bytes([_NAME, len(name)]) + name
    return bytes([_IPV4 if address.version == 4 else _IPV6]) + address.packed
