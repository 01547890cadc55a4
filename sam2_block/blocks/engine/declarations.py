"""Declarations that all blocks share, and conversion of this package's errors to the engine's."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from roboflow_workflows.errors import RuntimeInputError, WorkflowEnvironmentConfigurationError
from roboflow_workflows.prototypes.block import Runtime, RuntimeRestriction, Severity

from sam2_block.errors import InputError, RemoteError, SettingsError

# The engine version of the oldest `roboflow-workflows` release that pyproject.toml admits.
ENGINE_COMPATIBILITY = ">=1.17.0,<2.0.0"

NOT_ON_HOSTED_SERVERLESS = RuntimeRestriction(
    code="plugin_not_installed_on_hosted_serverless",
    severity=Severity.HARD,
    note=(
        "A third-party plugin: Roboflow Hosted Serverless does not load it, so the step's type is"
        " unknown there. Run it on your own server or in an InferencePipeline."
    ),
    applies_to_runtimes=[Runtime.HOSTED_SERVERLESS],
)

RESTRICTIONS = [NOT_ON_HOSTED_SERVERLESS]


@contextlib.contextmanager
def as_engine_errors(image_index: tuple[int, ...] | None = None) -> Iterator[None]:
    """Re-raise `InputError` as the engine's `RuntimeInputError` (HTTP 400), naming the image.

    Other errors of this package propagate, and the engine reports them as errors of the step. The
    message of a `RemoteError` also names the image.

    Args:
        image_index: The image's index in the batch; None to name no image.
    """
    prefix = "" if image_index is None else f"image {'.'.join(map(str, image_index))}: "
    try:
        yield
    except InputError as error:
        raise RuntimeInputError(
            public_message=f"{prefix}{error}",
            context="workflow_execution | step_execution",
            inner_error=error,
        ) from error
    except RemoteError as error:
        error.args = (f"{prefix}{error}",)
        raise


def engine_error(error: SettingsError) -> WorkflowEnvironmentConfigurationError:
    """Convert an error of the operator's settings to one whose message the engine shows."""
    return WorkflowEnvironmentConfigurationError(
        public_message=str(error),
        context="workflow_compilation | steps_initialisation",
        inner_error=error,
    )
