"""Where SAM 2 runs for a request: in this process, or on a server."""

from __future__ import annotations

from sam2_block.backends.execution import ExecutionTarget, check_reachable, check_target
from sam2_block.backends.protocol import Backend
from sam2_block.process_state import FORK_GATE
from sam2_block.settings import Settings

__all__ = ["ExecutionTarget", "choose_backend"]


def choose_backend(
    settings: Settings,
    target: ExecutionTarget,
    api_url: str | None = None,
    api_key: str | None = None,
    user: object = None,
) -> Backend:
    """Return the backend for a request; its modules are imported only when needed.

    Args:
        settings: The operator's settings.
        target: `local`, in this process, or `remote`, on a server.
        api_url: The server that the workflow names, or None for the operator's.
        api_key: The key that the workflow gives, or None for the operator's.
        user: See `process_state.SharedObjects.get`.

    Raises:
        ExecutionNotAllowedError: SAM 2 may not run on this target.
        EndpointNotAllowedError: The operator does not allow that server.
    """
    check_target(settings.access, target)
    if target == "local":
        with FORK_GATE.held():
            from sam2_block.backends.local.local_backend import shared_backend

        return shared_backend(settings.local, user)
    with FORK_GATE.held():
        from sam2_block.backends.remote.endpoints import choose_endpoint
        from sam2_block.backends.remote.remote_backend import RemoteBackend, shared_service

    endpoint = choose_endpoint(settings.access, api_url, api_key)
    check_reachable(endpoint.url)
    return RemoteBackend(shared_service(settings.remote, user), endpoint)
