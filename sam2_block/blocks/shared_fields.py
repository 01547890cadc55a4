"""Fields and declarations that the manifests of this plugin share."""

from __future__ import annotations

import contextlib
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, ConfigDict, Field, GetJsonSchemaHandler, Strict
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema
from roboflow_workflows.execution_engine.entities.types import (
    IMAGE_KIND,
    SECRET_KIND,
    STRING_KIND,
    Selector,
)
from roboflow_workflows.execution_engine.entities.workload import (
    Discovery,
    WorkOperation,
    declaration_unavailable_problem,
    incomplete_discovery,
)
from roboflow_workflows.prototypes.block import (
    AirGappedAvailability,
    DependentResource,
    RuntimeRestriction,
    WorkflowBlockManifest,
    actual_restrictions_of,
    third_party_model,
)

from sam2_block.backends.execution import check_target
from sam2_block.blocks.engine.declarations import ENGINE_COMPATIBILITY, RESTRICTIONS
from sam2_block.blocks.relevance import reject_fields_without_effect, relevant_where
from sam2_block.blocks.unknown_fields import reject_unknown_fields
from sam2_block.errors import SettingsError
from sam2_block.settings import Settings
from sam2_block.versions import DEFAULT, DEMO, VersionName, check_remote_version

ExecutionMode = Literal["auto", "local", "remote"]

Images = Selector(kind=[IMAGE_KIND])
# The literal form comes first in each union: the engine shows the error of the first member.
Version = VersionName | Selector(kind=[STRING_KIND])
_Text = Annotated[str, Strict()]  # rejects bytes, as at run time
ApiUrl = _Text | Selector(kind=[STRING_KIND, SECRET_KIND]) | None
ApiKey = _Text | Selector(kind=[SECRET_KIND, STRING_KIND]) | None

_REMOTE_ONLY = relevant_where("execution_mode", "auto", "remote")


def type_field(block_type: str) -> Any:
    """Return the field `type`."""
    return Field(title="Type", description="The block and its version.", examples=[block_type])


def images_field() -> Any:
    """Return the field `images`; it may also be named `image`, as in the engine's own blocks."""
    return Field(
        title="Image",
        description="The image, or the batch of images, to run SAM 2 on.",
        examples=["$inputs.image", "$steps.cropping.crops"],
        validation_alias=AliasChoices("images", "image"),
    )


def version_field() -> Any:
    """Return the field `version`."""
    return Field(
        default=DEFAULT,
        title="Version",
        description="The model: `demo` (built in, for demos and tests only), SAM 2 (`hiera_tiny` to"
        " `hiera_large`) or SAM 2.1 (`sam2.1_hiera_tiny` to `sam2.1_hiera_large`). Remote execution"
        " supports SAM 2 only.",
        examples=["hiera_tiny", "sam2.1_hiera_large", "$inputs.sam2_version"],
        json_schema_extra={"always_visible": True},
    )


def execution_mode_field() -> Any:
    """Return the field `execution_mode`."""
    return Field(
        default="auto",
        title="Execution Mode",
        description="Where SAM 2 runs: in this process (`local`), on a server through its SAM 2"
        " endpoint (`remote`), or wherever the engine runs its own models (`auto`).",
        examples=["auto", "local", "remote"],
        json_schema_extra={
            "values_metadata": {
                "auto": {"name": "Auto", "description": "Where the engine's own blocks run."},
                "local": {"name": "Local", "description": "In this process."},
                "remote": {
                    "name": "Remote",
                    "description": "On a server, through its SAM 2 endpoint.",
                },
            },
        },
    )


def api_url_field() -> Any:
    """Return the field `api_url`."""
    return Field(
        default=None,
        title="API URL",
        description="For remote execution: the URL of the server. Defaults to the server that the"
        " engine's operator configured; the operator also decides which other servers are allowed.",
        examples=[
            "https://serverless.roboflow.com",
            "http://localhost:9001",
            "https://my-deployment.roboflow.cloud",
            "$inputs.api_url",
        ],
        json_schema_extra={"private": True, **_REMOTE_ONLY},
    )


def api_key_field() -> Any:
    """Return the field `api_key`."""
    return Field(
        default=None,
        title="API Key",
        description="For remote execution: the Roboflow API key to send. Defaults to the operator's"
        " key, which is sent to the operator's server only.",
        examples=["$inputs.api_key", "$steps.secrets.roboflow_api_key"],
        json_schema_extra={"private": True, **_REMOTE_ONLY},
    )


def manifest_config(
    *,
    name: str,
    short_description: str,
    long_description: str,
    search_keywords: list[str],
    priority: float,
) -> ConfigDict:
    """Return the `model_config` of a block's manifest, with the texts that the editor shows."""
    return ConfigDict(
        json_schema_extra={
            "title": name,
            "description": short_description,
            "name": name,
            "version": "v1",
            "short_description": short_description,
            "long_description": long_description,
            "license": "Apache-2.0",
            "block_type": "model",
            "search_keywords": ["SAM2", "SAM 2", "segment anything", "META", *search_keywords],
            "ui_manifest": {
                "section": "model",
                "icon": "fa-brands fa-meta",
                "blockPriority": priority,
                "needsGPU": False,
                "inference": True,
            },
            "additionalProperties": False,  # enforced by `reject_unknown_fields`
        },
        extra="allow",  # `reject_unknown_fields` names them in its error
        protected_namespaces=(),
        hide_input_in_errors=True,  # the input may contain an API key
    )


class Sam2Manifest(WorkflowBlockManifest):
    """The manifest of a block that runs SAM 2; subclasses add the fields of their block."""

    name: str = Field(
        title="Step Name",
        description="Unique name of the step, by which other steps refer to its outputs.",
        examples=["segmentation"],
    )

    def model_post_init(self, context: Any) -> None:
        """Reject, at compile time, a step that cannot run as configured, and useless fields.

        This is not a pydantic validator: the engine runs validators again on every value that it
        resolves at run time, and hides their messages. `run` checks those values with messages.
        """
        reject_unknown_fields(self)
        self.check_execution_mode()
        self.check_version_of_remote_step()
        reject_fields_without_effect(self)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Add a title to each alternative of a field, so that a form can offer it by name."""
        schema = handler(core_schema)
        for field in handler.resolve_ref_schema(schema).get("properties", {}).values():
            for alternative in field.get("anyOf", []):
                alternative["title"] = _title_of(alternative)
        return schema

    @property
    def runs_remotely(self) -> bool:
        """Whether the step itself requests remote execution, wherever the engine runs."""
        return bool(self.execution_mode == "remote")

    def check_execution_mode(self) -> None:
        """Reject a mode that the operator does not allow.

        Whether the process is offline is checked only when the step runs, as in the engine's own
        blocks: an offline server also describes and validates workflows that run elsewhere.

        Raises:
            ExecutionNotAllowedError: The mode is not allowed; choose the other mode, or `auto`.
        """
        if self.execution_mode == "auto":
            return
        # Settings that cannot be read are reported when the block is created.
        with contextlib.suppress(SettingsError):
            check_target(Settings.from_environment().access, self.execution_mode)

    def check_version_of_remote_step(self) -> None:
        """Reject a literal version that no endpoint offers, if the step requests remote execution.

        Raises:
            OptionError: No endpoint offers the version; choose another one.
        """
        if self.runs_remotely and not str(self.version).startswith("$"):
            check_remote_version(self.version)

    @classmethod
    def get_execution_engine_compatibility(cls) -> str:
        """Return the versions of the engine that the block supports."""
        return ENGINE_COMPATIBILITY

    @classmethod
    def get_air_gapped_availability(cls) -> AirGappedAvailability:
        """Declare that the block runs without internet access once its weights are available."""
        return AirGappedAvailability(available=True)

    @classmethod
    def get_restrictions(cls) -> list[RuntimeRestriction]:
        """Return the runtimes that the block cannot run on."""
        return list(RESTRICTIONS)

    def get_actual_restrictions(
        self, *, ignore_environment_restrictions: bool = False
    ) -> Discovery[RuntimeRestriction]:
        """Return the runtimes that this step cannot run on; they do not depend on its fields."""
        return actual_restrictions_of(
            declared=RESTRICTIONS,
            node_id=f"$steps.{self.name}",
            ignore_environment_restrictions=ignore_environment_restrictions,
        )

    def discover_dependent_resources(
        self,
    ) -> list[DependentResource] | Discovery[DependentResource]:
        """Declare the server's model for a remote step, and no resource for the built-in version.

        Otherwise the declaration is incomplete. None of the engine's resource types fits Meta's
        weights in this process: a server would look for a platform model in Roboflow's cache and
        report it missing. And only the host knows where a step in mode `auto` runs.
        """
        if self.runs_remotely:
            if str(self.version).startswith("$"):
                return [third_party_model("roboflow", self.version, _remote_model_id)]
            return [third_party_model("roboflow", _remote_model_id(self.version))]
        if self.version == DEMO:
            return []
        return incomplete_discovery(
            items=[],
            reasons=[
                declaration_unavailable_problem(
                    node_id=f"$steps.{self.name}", declaration="resources"
                )
            ],
        )

    def discover_work_operations(self) -> list[WorkOperation]:
        """Declare model inference and, for a remote step, an external request."""
        if self.runs_remotely:
            return [WorkOperation.MODEL_INFERENCE, WorkOperation.EXTERNAL_REQUEST]
        return [WorkOperation.MODEL_INFERENCE]


def _title_of(alternative: dict[str, Any]) -> str:
    if alternative.get("reference"):
        return "Selector"
    return "None" if alternative["type"] == "null" else "Value"


def _remote_model_id(version: str) -> str:
    return f"sam2/{version}"
