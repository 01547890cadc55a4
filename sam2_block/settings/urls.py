"""URLs of servers in a normal form, for comparison."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443}

# A strict subset of what URL parsers accept, so that all of them read the same host.
_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_NETWORK_LOCATION = re.compile(r"(\[[^\[\]@]+\]|[^\[\]:@]+)(:[0-9]*)?")
_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)*/*")


def normalise_url(text: str) -> str:
    """Return the URL of a server as scheme, host, port and path, without a slash at the end.

    Args:
        text: `http(s)://host[:port][/path]` and nothing more: no user, no query, no fragment,
            which may hide keys.

    Raises:
        ValueError: `text` is anything else. The message shows only its scheme and host.
    """
    text = text.strip()
    split = _split(text)
    if split is None:
        raise ValueError("expected http(s)://host[:port][/path]; got something else.")
    parts, host, port = split
    if (
        parts.scheme not in _DEFAULT_PORTS
        or not _is_host(host)
        or not _NETWORK_LOCATION.fullmatch(parts.netloc)
        or "?" in text
        or "#" in text
        or not _PATH.fullmatch(parts.path)
        or not {".", ".."}.isdisjoint(parts.path.split("/"))
    ):
        raise ValueError(
            f"expected http(s)://host[:port][/path] and nothing more; got {_shown(parts, host)}."
        )
    shown_host = f"[{ipaddress.ip_address(host)}]" if ":" in host else host
    suffix = "" if port in (None, _DEFAULT_PORTS[parts.scheme]) else f":{port}"
    return f"{parts.scheme}://{shown_host}{suffix}{parts.path.rstrip('/')}"


def _split(text: str) -> tuple[SplitResult, str, int | None] | None:
    """Return the parts of a URL, its host and its port; None if it cannot be split.

    Errors of `urlsplit` quote the text, so they are not propagated.
    """
    if not (text.isascii() and text.isprintable()):  # `urlsplit` drops some characters silently
        return None
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return None
    if "[" in parts.netloc and ":" not in host:  # Python 3.10 accepts any host in brackets
        return None
    return parts, host, port


def _is_host(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        # A host that ends in a number is an address that only some parsers read: 127.1, 2130706433.
        return (
            len(host) <= 253
            and _HOST_NAME.fullmatch(host) is not None
            and not _NUMBER.fullmatch(host.rpartition(".")[2])
        )
    return "%" not in host


def _shown(parts: SplitResult, host: str) -> str:
    if not parts.scheme or not _is_host(host):
        return "something else"
    if parts.scheme not in _DEFAULT_PORTS:
        return f"{parts.scheme}://{host} with another scheme"
    return f"{parts.scheme}://{host} with a user, query, fragment or unusual path"
