"""Where SAM 2 may run: what the operator allows, and what an offline process rules out.

The author of a workflow does not decide where images are sent. Every check here runs before any
name lookup and before any socket is opened.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from typing import Literal
from urllib.parse import urlsplit

from sam2_block.errors import ExecutionNotAllowedError
from sam2_block.settings import AccessSettings

ExecutionTarget = Literal["local", "remote"]

# `inference` decides once per process and passes the decision to child processes.
_OFFLINE_VARIABLES = ("OFFLINE_MODE", "_ROBOFLOW_INFERENCE_OFFLINE_MODE_AT_PROCESS_START")
_GATEWAY_VARIABLES = ("SECURE_GATEWAY", "LICENSE_SERVER")
_OFF = ("", "false", "0", "no", "off")

# The hosted API, and dedicated deployments.
_ROBOFLOW_DOMAINS = ("roboflow.com", "roboflow.cloud")


def is_roboflow_host(url: str) -> bool:
    """Return whether a URL names one of Roboflow's own hosts."""
    host = urlsplit(url).hostname or ""
    return any(host == domain or host.endswith("." + domain) for domain in _ROBOFLOW_DOMAINS)


def is_offline(environment: Mapping[str, str] | None = None) -> bool:
    """Return whether the engine's `OFFLINE_MODE` is on.

    Any value other than blank, `false`, `0`, `no` and `off` counts as on. The engine itself is not
    imported: an import freezes its configuration.
    """
    variables = os.environ if environment is None else environment
    return any(variables.get(name, "").strip().lower() not in _OFF for name in _OFFLINE_VARIABLES)


def target_of_auto(settings: AccessSettings, engine_runs_remotely: bool) -> ExecutionTarget:
    """Return where a step in mode `auto` runs.

    Args:
        settings: The operator's settings; if they allow one target only, that one is returned.
        engine_runs_remotely: Whether the engine's own blocks run on a server.
    """
    if settings.execution == "any":
        return "remote" if engine_runs_remotely and not is_offline() else "local"
    return "local" if settings.execution == "local" else "remote"


def check_target(settings: AccessSettings, target: ExecutionTarget) -> None:
    """Reject a target that the operator does not allow.

    Raises:
        ExecutionNotAllowedError: The target is not allowed; use the other one, or `auto`.
    """
    if settings.execution not in ("any", target):
        raise ExecutionNotAllowedError(
            f"execution_mode: the operator of this process allows {settings.execution} execution"
            f" only (SAM2_BLOCK_EXECUTION); got {target}. Use {settings.execution} or auto."
        )


def check_step_target(settings: AccessSettings, target: ExecutionTarget) -> None:
    """Reject a target that a step of a workflow may not use.

    While offline no step runs on a server, not even on the same machine, as with the engine's own
    blocks.

    Raises:
        ExecutionNotAllowedError: The target is not allowed; use the other one, or `auto`.
    """
    check_target(settings, target)
    if target == "remote" and is_offline():
        raise ExecutionNotAllowedError(
            "execution_mode: remote execution is not available while OFFLINE_MODE is enabled;"
            " nothing was sent. Use local or auto, or restart without OFFLINE_MODE."
        )


def check_reachable(url: str) -> None:
    """Reject a request that may not leave this machine, or cannot reach its server.

    Args:
        url: The server, normalised.

    Raises:
        ExecutionNotAllowedError: The server may not or cannot be called; nothing was sent.
    """
    if is_offline() and not _is_loopback(url):
        raise ExecutionNotAllowedError(
            f"api_url: {url} is not on this machine, and OFFLINE_MODE is enabled; nothing was sent."
            " Use local execution, or restart without OFFLINE_MODE."
        )
    gateway = next((name for name in _GATEWAY_VARIABLES if os.environ.get(name, "").strip()), None)
    if gateway and is_roboflow_host(url):
        raise ExecutionNotAllowedError(
            f"api_url: {url} cannot be reached behind a secure gateway ({gateway}); nothing was"
            " sent. Use a server inside the gateway's network (SAM2_BLOCK_API_URL), or local"
            " execution."
        )


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
