"""Base class of the blocks: it holds the operator's settings and selects the backend."""

from __future__ import annotations

from typing import Any

from roboflow_workflows.environment import WORKFLOWS_STEP_EXECUTION_MODE
from roboflow_workflows.prototypes.block import WorkflowBlock

from sam2_block.backends.execution import (
    ExecutionTarget,
    check_step_target,
    target_of_auto,
)
from sam2_block.backends.protocol import Backend
from sam2_block.backends.select import choose_backend
from sam2_block.blocks.engine.declarations import engine_error
from sam2_block.blocks.shared_fields import ExecutionMode
from sam2_block.errors import ClosedError, SettingsError
from sam2_block.settings import SETTING_NAMES, Settings
from sam2_block.versions import check_allowed_version


class Sam2Block(WorkflowBlock):
    """A block that runs SAM 2.

    Args:
        backend: The backend for every step; None to select one by the step's fields.
        **settings: The operator's settings, one per name in `sam2_block.settings.SETTING_NAMES`.
    """

    def __init__(self, backend: Backend | None, **settings: Any) -> None:
        try:
            self._settings = Settings().override(**settings)
        except SettingsError as error:
            raise engine_error(error) from error
        self._given_backend = backend
        self._is_closed = False

    @classmethod
    def get_init_parameters(cls) -> list[str]:
        """Return the names of the constructor's parameters."""
        return ["backend", *SETTING_NAMES]

    def close(self) -> None:
        """Mark this step as closed; the engine calls this method.

        A server closes the engine after every request, so this frees nothing that the next request
        needs: models, embeddings and connections belong to the process, within the bounds that its
        operator sets.
        """
        self._is_closed = True
        self._given_backend = None

    def _backend(
        self,
        version: str,
        execution_mode: ExecutionMode,
        api_url: str | None,
        api_key: str | None,
    ) -> Backend:
        """Return the backend for a step with these fields.

        Raises:
            ClosedError: The step is closed.
            OptionError: The operator does not allow that version.
            ExecutionNotAllowedError: SAM 2 may not run on that target.
            EndpointNotAllowedError: The operator does not allow that server.
        """
        if self._is_closed:
            raise ClosedError("the engine of this step is closed; compile the workflow again.")
        check_allowed_version(version, self._settings.access.allowed_versions)
        if self._given_backend is not None:
            return self._given_backend
        target = self._target(execution_mode)
        check_step_target(self._settings.access, target)
        return choose_backend(self._settings, target, api_url, api_key)

    def _target(self, execution_mode: ExecutionMode) -> ExecutionTarget:
        if execution_mode != "auto":
            return execution_mode
        engine_runs_remotely = str(WORKFLOWS_STEP_EXECUTION_MODE).lower() == "remote"
        return target_of_auto(self._settings.access, engine_runs_remotely)
