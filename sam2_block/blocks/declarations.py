"""What every block of this plugin declares of itself to the engine, and errors to its callers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from roboflow_workflows.environment import ENABLE_TENSOR_DATA_REPRESENTATION
from roboflow_workflows.errors import RuntimeInputError
from roboflow_workflows.prototypes.block import Runtime, RuntimeRestriction, Severity

from sam2_block.errors import InputError, SettingsError

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

NOT_IN_TENSOR_REPRESENTATION = RuntimeRestriction(
    code="unsupported_in_tensor_representation",
    severity=Severity.HARD,
    note=(
        "Works on numpy images and sv.Detections; raises on a server that runs with"
        " ENABLE_TENSOR_DATA_REPRESENTATION."
    ),
    applies_to_configuration={"ENABLE_TENSOR_DATA_REPRESENTATION": True},
)

RESTRICTIONS = [NOT_ON_HOSTED_SERVERLESS, NOT_IN_TENSOR_REPRESENTATION]


def refuse_tensor_representation() -> None:
    """Raise a `SettingsError` where the engine hands over tensors in place of numpy arrays."""
    if ENABLE_TENSOR_DATA_REPRESENTATION:
        raise SettingsError(
            "sam2_block works on numpy images; this server runs with"
            " ENABLE_TENSOR_DATA_REPRESENTATION=True. Unset it and restart the server."
        )


@contextlib.contextmanager
def errors_name_image(index: tuple[int, ...]) -> Iterator[None]:
    """Turn an error of the request into the engine's, naming the image by its place in the batch.

    The engine answers a `RuntimeInputError` as the caller's fault; other errors of this package
    pass as they are, and the engine reports them as the step's.
    """
    try:
        yield
    except InputError as error:
        image = ".".join(map(str, index))
        raise RuntimeInputError(
            public_message=f"image {image}: {error}",
            context="workflow_execution | step_execution",
            inner_error=error,
        ) from error
