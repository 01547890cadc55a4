"""Meta's checkpoints on the Hugging Face Hub: download, verify, and describe failures."""

from __future__ import annotations

import errno
import hashlib
import ssl
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from sam2_block.backends.execution import is_offline
from sam2_block.errors import CheckpointInvalidError
from sam2_block.versions import MetaRelease

_CHUNK_BYTES = 1024**2

_DISK_FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
_NOT_PERMITTED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR)

_NO_CONNECTION = "there is no connection to {host}{proxy}"

# Class name of an error -> reason. By name, since the client uses `requests` in its releases 0.x
# and `httpx` from 1.0. If several match a chain of errors, the first of these applies.
_REASONS = {
    "OfflineEngineError": "OFFLINE_MODE is enabled, so that nothing is downloaded",
    "OfflineModeIsEnabled": "HF_HUB_OFFLINE is set, so that nothing is downloaded",
    "ProxyError": "the proxy cannot be reached or refuses it; see HTTPS_PROXY and NO_PROXY",
    "GatedRepoError": "access to the repository is not granted; see HF_TOKEN",
    "SSLError": "the server's certificate is not trusted",
    "SSLCertVerificationError": "the server's certificate is not trusted",
    "TimeoutException": "{host} did not respond in time",
    "Timeout": "{host} did not respond in time",
    "ConnectError": _NO_CONNECTION,
    "ConnectionError": _NO_CONNECTION,
    "gaierror": _NO_CONNECTION,
    "ProtocolError": "the connection to {host} broke",
    "ChunkedEncodingError": "the connection to {host} broke",
}
_STATUSES = {
    401: "access is refused (status 401); see HF_TOKEN",
    403: "access is refused (status 403); see HF_TOKEN",
    404: "the file was not found (status 404); see HF_ENDPOINT",
    407: "the proxy requires a login (status 407); see HTTPS_PROXY",
    429: "there were too many requests (status 429); try again later",
}


class OfflineEngineError(Exception):
    """The engine's `OFFLINE_MODE` is enabled."""


def cached_file(release: MetaRelease) -> Path | None:
    """Return the path of a release's file in the Hub's cache on this machine, or None."""
    from huggingface_hub import try_to_load_from_cache

    try:
        cached = try_to_load_from_cache(release.hub_repo, release.checkpoint_file)
    except OSError:  # the cache is not accessible
        return None
    return Path(cached) if isinstance(cached, str) else None


def download(release: MetaRelease) -> Path:
    """Download the file of a release into the Hub's cache, and verify its SHA-256.

    `huggingface_hub` downloads it, with its progress bar, resume and cache. No request is sent if
    `HF_HUB_OFFLINE` is set or the engine is offline.

    Raises:
        OfflineEngineError: The engine's `OFFLINE_MODE` is enabled.
        CheckpointInvalidError: The file is not the one that Meta published; it is deleted.
        Exception: Any error of the client; see `failure_reason`.
    """
    if is_offline():
        raise OfflineEngineError
    from huggingface_hub import hf_hub_download

    path = Path(hf_hub_download(release.hub_repo, release.checkpoint_file))
    digest = file_sha256(path)
    if digest != release.sha256:
        path.resolve().unlink(missing_ok=True)  # the cache links to it
        path.unlink(missing_ok=True)
        raise CheckpointInvalidError(
            f"{release.checkpoint_file} was downloaded from {release.hub_repo} with the SHA-256"
            f" {digest}; expected {release.sha256}. It was removed. Try again; if it happens again,"
            " something between this machine and the Hub changes files."
        )
    return path


def failure_reason(error: BaseException) -> str:
    """Return why a download failed, without any URL, path or header of the request.

    Args:
        error: The client's error.
    """
    from huggingface_hub import constants

    chain = list(_chain(error))
    for link in chain:
        code = link.errno if isinstance(link, OSError) else None
        if code in _DISK_FULL:
            return f"the disk of {constants.HF_HUB_CACHE} is full"
        if code in _NOT_PERMITTED:
            return f"{constants.HF_HUB_CACHE} is not writable (HF_HUB_CACHE)"
    if any(isinstance(link, ssl.SSLError) or "CERTIFICATE_" in str(link) for link in chain):
        return _REASONS["SSLError"]
    names = {parent.__name__ for link in chain for parent in type(link).__mro__}
    for name in ("OfflineModeIsEnabled", "ProxyError", "GatedRepoError"):
        if name in names:
            return _REASONS[name]
    for link in chain:
        status = getattr(getattr(link, "response", None), "status_code", None)
        if status is not None:
            return _STATUSES.get(status, f"the server returned status {status}")
    reason = next((reason for name, reason in _REASONS.items() if name in names), None)
    # Some releases of `huggingface_hub` close their HTTP client after a failed connection, and then
    # report only that it is closed.
    if reason is None and any("client has been closed" in str(link) for link in chain):
        reason = _NO_CONNECTION
    endpoint = urlsplit(constants.ENDPOINT)
    host = endpoint.hostname or "the Hub"
    is_direct = endpoint.scheme not in getproxies() or proxy_bypass(host)
    proxy = "" if is_direct else f" through the proxy of {endpoint.scheme.upper()}_PROXY"
    return (reason or type(error).__name__).format(host=host, proxy=proxy)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def file_sha256(path: Path) -> str:
    """Return the SHA-256 digest of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
