"""Which server a request goes to, and with which key.

A workflow is not trusted with the operator's key, nor with the operator's network: whoever can run
a workflow on a server could otherwise have the key sent to a machine of their own, or have the
server call one inside the operator's walls.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import urlsplit

from sam2_block.backends.execution import is_roboflow_host
from sam2_block.errors import EndpointNotAllowedError, OptionError
from sam2_block.messages.redaction import redact
from sam2_block.settings import AccessSettings
from sam2_block.settings.urls import normalise_url
from sam2_block.settings.values import secret


@dataclass(frozen=True)
class Endpoint:
    """A server and what to show it.

    Attributes:
        url: Scheme, host, port and path prefix, without a slash at the end.
        api_key: The key that goes with every request; None for none.
        key_source: Which key that is, in words, for messages.
    """

    url: str
    api_key: str | None = field(default=None, repr=False)
    key_source: str = "no key was sent: set ROBOFLOW_API_KEY, or give an api_key"

    def without_key(self, text: str) -> str:
        """Return a message with the key struck out."""
        return redact(text, self.api_key)


def choose_endpoint(settings: AccessSettings, api_url: str | None, api_key: str | None) -> Endpoint:
    """Decide where a step's requests go, and with which key.

    Args:
        settings: The operator's settings.
        api_url: The workflow's own choice of a server, or None.
        api_key: The workflow's own key, or None.

    Returns:
        The operator's server, or the workflow's where that is one of Roboflow's hosts or one that
        the operator allowed. The operator's key goes to the operator's server only.

    Raises:
        EndpointNotAllowedError: The workflow's server is none of these.
        OptionError: The workflow's key is no text.
    """
    if api_key is not None and not isinstance(api_key, str):  # a workflow can bring anything
        raise OptionError(f"api_key: expected text; got {type(api_key).__name__}.")
    own_key = secret(api_key)
    url = settings.api_url if not api_url else _normalised(api_url)
    is_operators = url == settings.api_url
    if not is_operators and not _may_be_named(url, settings):
        raise EndpointNotAllowedError(
            f"api_url: the operator of this server does not allow {url}. Expected the operator's"
            " own, a host of Roboflow's over https, or one that the operator lists in"
            " SAM2_BLOCK_ALLOWED_API_URLS."
        )
    if own_key:
        return Endpoint(url, own_key, "the api_key that was given")
    if not is_operators:
        return Endpoint(
            url, None, "no key was sent: a server that the step names needs the step's api_key"
        )
    if settings.api_key:
        source = "the operator's key, SAM2_BLOCK_API_KEY or ROBOFLOW_API_KEY"
        return Endpoint(url, settings.api_key, source)
    return Endpoint(url)


def _normalised(api_url: object) -> str:
    if not isinstance(api_url, str):
        raise EndpointNotAllowedError(f"api_url: expected text; got {type(api_url).__name__}.")
    try:
        return normalise_url(api_url)
    except ValueError as error:
        raise EndpointNotAllowedError(f"api_url: {error}") from None


def _may_be_named(url: str, settings: AccessSettings) -> bool:
    if url in settings.allowed_api_urls:
        return True
    return urlsplit(url).scheme == "https" and is_roboflow_host(url)
