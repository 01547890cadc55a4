"""Choose the proxy of a request by the environment: `HTTP_PROXY`, `NO_PROXY` and the like.

httpx reads these too, but fails on common entries of `NO_PROXY`, such as `[::1]` or `fd00::/8`. Its
error names no variable.
"""

from __future__ import annotations

import ipaddress
import logging
import re
import urllib.request
from dataclasses import dataclass, field

import httpx

from sam2_block.errors import SettingsError

logger = logging.getLogger(__name__)

_SCHEMES = ("http", "https", "socks5", "socks5h")
_MAX_SOCKS_CREDENTIAL = 255  # RFC 1929
_DEFAULT_PORTS = {"http": 80, "https": 443}
_ENTRY = re.compile(
    r"((?P<scheme>https?|all)://)?"
    r"(\[(?P<bracketed>[0-9a-f:.]+)\]|(?P<domain>[a-z0-9_.*-]+))"
    r"(:(?P<port>[0-9]{1,5}))?/?"
)


@dataclass(frozen=True)
class Proxy:
    """A proxy server.

    Attributes:
        url: Scheme, host and port.
        credentials: User and password as bytes, or None.
    """

    url: httpx.URL
    credentials: tuple[bytes, bytes] | None = field(default=None, repr=False)

    @property
    def is_socks(self) -> bool:
        """Whether this is a SOCKS5 proxy; otherwise it is an HTTP proxy."""
        return self.url.scheme.startswith("socks")


class ProxyRules:
    """The proxies of an environment.

    Args:
        variables: Values by scheme, `no` for `NO_PROXY`, as returned by
            `urllib.request.getproxies`; by default those of this process.

    Raises:
        SettingsError: A proxy cannot be used. Nothing of its URL is shown, as it may hold a
            password.
    """

    def __init__(self, variables: dict[str, str] | None = None) -> None:
        variables = urllib.request.getproxies() if variables is None else variables
        self._proxies = {
            scheme: _proxy(f"{scheme.upper()}_PROXY", variables[scheme].strip())
            for scheme in ("http", "https", "all")
            if variables.get(scheme, "").strip()
        }
        entries = re.split(r"[,\s]+", variables.get("no", "").strip().lower())
        self._bypasses = [rule for entry in entries if entry and (rule := _bypass(entry))]

    @property
    def proxies(self) -> set[Proxy]:
        """All proxies that a request may go through."""
        return set(self._proxies.values())

    def proxy_for(self, url: httpx.URL) -> Proxy | None:
        """Return the proxy for a request, or None for a direct connection."""
        if any(bypass.covers(url) for bypass in self._bypasses):
            return None
        return self._proxies.get(url.scheme) or self._proxies.get("all")


def _proxy(variable: str, text: str) -> Proxy:
    try:
        url = httpx.URL(text if "://" in text else f"http://{text}")
        usable = url.scheme in _SCHEMES and url.host and (url.port is None or 0 < url.port < 65536)
        # A path, query or fragment comes from an unescaped `/`, `?` or `#` in a password, of which
        # the first part would be read as the port.
        usable = usable and url.raw_path == b"/" and not url.fragment
        credentials = (url.username.encode(), url.password.encode())
    except (httpx.InvalidURL, ValueError, TypeError, UnicodeError):
        usable = False
    if not usable:
        raise SettingsError(
            f"{variable}: expected [{'|'.join(_SCHEMES)}://][user:password@]host[:port]; got"
            " something else. In a password, `/`, `?`, `#` and `@` are %2F, %3F, %23 and %40."
        )
    proxy = Proxy(
        url.copy_with(username=None, password=None), credentials if any(credentials) else None
    )
    if proxy.is_socks and max(map(len, credentials)) > _MAX_SOCKS_CREDENTIAL:
        raise SettingsError(
            f"{variable}: a SOCKS proxy takes a user and a password of at most"
            f" {_MAX_SOCKS_CREDENTIAL} bytes each; got more."
        )
    return proxy


@dataclass(frozen=True)
class _Bypass:
    """An entry of `NO_PROXY`.

    Attributes:
        network: Addresses, or None for a domain.
        domain: With a leading dot for its subdomains only; `*` for every host.
        scheme: `http`, `https`, or `all`.
        port: Port, or None for any.
    """

    network: ipaddress.IPv4Network | ipaddress.IPv6Network | None = None
    domain: str = ""
    scheme: str = "all"
    port: int | None = None

    def covers(self, url: httpx.URL) -> bool:
        """Return whether a request to this URL bypasses the proxy."""
        port = url.port or _DEFAULT_PORTS.get(url.scheme)
        if self.scheme not in ("all", url.scheme) or self.port not in (None, port):
            return False
        host = url.host.lower()
        if self.network is None:
            suffix = self.domain if self.domain.startswith(".") else f".{self.domain}"
            return self.domain == "*" or host == self.domain or host.endswith(suffix)
        try:
            return ipaddress.ip_address(host) in self.network
        except ValueError:
            return False


def _bypass(entry: str) -> _Bypass | None:
    """Parse an entry; ignore one that cannot be parsed, with a warning."""
    try:
        return _Bypass(network=ipaddress.ip_network(entry, strict=False))
    except ValueError:
        match = _ENTRY.fullmatch(entry)
    if match is None or int(match["port"] or 1) not in range(1, 65536):
        shown = "(hidden)" if "@" in entry else repr(entry[:80])
        logger.warning("NO_PROXY: ignored an entry that names no host or network: %s", shown)
        return None
    scheme, port = match["scheme"] or "all", int(match["port"]) if match["port"] else None
    host = match["bracketed"] or match["domain"]
    try:
        return _Bypass(ipaddress.ip_network(host), "", scheme, port)
    except ValueError:
        if match["bracketed"]:
            logger.warning("NO_PROXY: ignored an entry that names no address: %r", entry[:80])
            return None
    return _Bypass(None, host.removeprefix("*") or "*", scheme, port)
