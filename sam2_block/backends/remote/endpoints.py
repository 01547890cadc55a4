"""Choose the server that a request is sent to, and the key that is sent with it.

A workflow is trusted neither with the operator's key nor with the operator's network. Otherwise any
user who can run a workflow on a server could have the key sent to the user's own machine, or have
the server call a machine inside the operator's network.
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
    """A server and the key to send to it.

    Attributes:
        url: Scheme, host, port and path prefix, without a trailing slash.
        api_key: The key sent with every request, or None.
        key_source: Where the key comes from, as text for error messages.
    """

    url: str
    api_key: str | None = field(default=None, repr=False)
    key_source: str = "no key was sent: set ROBOFLOW_API_KEY, or give an api_key"

    def without_key(self, text: str) -> str:
        """Return a message with the key redacted."""
        return redact(text, self.api_key)


def choose_endpoint(settings: AccessSettings, api_url: str | None, api_key: str | None) -> Endpoint:
    """Choose the server and the key for a step's requests.

    Args:
        settings: The operator's settings.
        api_url: The server that the workflow names, or None.
        api_key: The key that the workflow gives, or None.

    Returns:
        The workflow's server if it is one of Roboflow's hosts or one that the operator allows; the
        operator's server if the workflow names none. The operator's key is sent to the operator's
        server only.

    Raises:
        EndpointNotAllowedError: The workflow's server is none of these.
        OptionError: The workflow's key is not a string.
    """
    if api_key is not None and not isinstance(api_key, str):  # a workflow can pass any type
        raise OptionError(f"api_key: expected text; got {type(api_key).__name__}.")
    workflow_key = secret(api_key)
    url = settings.api_url if not api_url else _normalised(api_url)
    is_operators_server = url == settings.api_url
    if not is_operators_server and not _is_allowed(url, settings):
        raise EndpointNotAllowedError(
            f"api_url: the operator of this server does not allow {url}. Expected the operator's"
            " own server, a Roboflow host over https, or a server that the operator lists in"
            " SAM2_BLOCK_ALLOWED_API_URLS."
        )
    if workflow_key:
        return Endpoint(url, workflow_key, "the api_key that was given")
    if not is_operators_server:
        return Endpoint(
            url, None, "no key was sent: a server named by the step needs the step's own api_key"
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


def _is_allowed(url: str, settings: AccessSettings) -> bool:
    if url in settings.allowed_api_urls:
        return True
    return urlsplit(url).scheme == "https" and is_roboflow_host(url)
