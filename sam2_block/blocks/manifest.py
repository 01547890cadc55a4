"""The fields that the manifests of this plugin share, and what all blocks declare of themselves."""

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
from sam2_block.blocks.relevance import refuse_fields_without_effect, relevant_where
from sam2_block.blocks.unknown_fields import refuse_unknown_fields
from sam2_block.errors import SettingsError
from sam2_block.settings import Settings
from sam2_block.versions import DEFAULT, DEMO, VersionName, check_remote_version

ExecutionMode = Literal["auto", "local", "remote"]

Images = Selector(kind=[IMAGE_KIND])
# In each union the literal form comes first: the engine shows the first part's error.
Version = VersionName | Selector(kind=[STRING_KIND])
_Text = Annotated[str, Strict()]  # bytes are no text, as at run time
ApiUrl = _Text | Selector(kind=[STRING_KIND, SECRET_KIND]) | None
ApiKey = _Text | Selector(kind=[SECRET_KIND, STRING_KIND]) | None

_REMOTE_ONLY = relevant_where("execution_mode", "auto", "remote")


def type_field(block_type: str) -> Any:
    """Return the field `type`."""
    return Field(title="Type", description="The block and its version.", examples=[block_type])


def images_field() -> Any:
    """Return the field `images`, which the engine's own blocks take as `image`, too."""
    return Field(
        title="Image",
        description="The image, or the batch of images, that SAM 2 sees.",
        examples=["$inputs.image", "$steps.cropping.crops"],
        validation_alias=AliasChoices("images", "image"),
    )


def version_field() -> Any:
    """Return the field `version`."""
    return Field(
        default=DEFAULT,
        title="Version",
        description="The model: `demo` (built in, for demos and tests only), SAM 2 (`hiera_tiny` to"
        " `hiera_large`) or SAM 2.1 (`sam2.1_hiera_tiny` to `sam2.1_hiera_large`). On a server:"
        " SAM 2 only.",
        examples=["hiera_tiny", "sam2.1_hiera_large", "$inputs.sam2_version"],
        json_schema_extra={"always_visible": True},
    )


def execution_mode_field() -> Any:
    """Return the field `execution_mode`."""
    return Field(
        default="auto",
        title="Execution Mode",
        description="Where SAM 2 runs: in this process, on a server through its SAM 2 endpoint, or"
        " where the engine runs its own models.",
        examples=["auto", "local", "remote"],
        json_schema_extra={
            "values_metadata": {
                "auto": {"name": "Auto", "description": "As the engine's own blocks."},
                "local": {"name": "Local", "description": "In this process."},
                "remote": {"name": "Remote", "description": "Through a server's SAM 2 endpoint."},
            },
        },
    )


def api_url_field() -> Any:
    """Return the field `api_url`."""
    return Field(
        default=None,
        title="API URL",
        description="For remote execution: the server. By default the one that the operator of the"
        " engine chose; the operator also decides which others may be named here.",
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
        description="For remote execution: the Roboflow API key that the server is to see. By"
        " default the operator's key, on the operator's server.",
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
    """Return the `model_config` of a block's manifest: what the editor shows of the block."""
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
            "additionalProperties": False,  # `refuse_unknown_fields`
        },
        extra="allow",  # until that has named them
        protected_namespaces=(),
        hide_input_in_errors=True,  # an API key may be in it
    )


class Sam2Manifest(WorkflowBlockManifest):
    """What every block that runs SAM 2 declares; the further fields are those of the block."""

    name: str = Field(
        title="Step Name",
        description="Unique name of the step; other steps refer to its outputs by it.",
        examples=["segmentation"],
    )

    def model_post_init(self, context: Any) -> None:
        """Refuse, at compile time, what cannot be run where the step says, or has no effect.

        Not a validator of pydantic's: the engine runs those again on every value that comes in at
        run time and hides what they say. `run` checks those values, and says it.
        """
        refuse_unknown_fields(self)
        self.check_execution_mode()
        self.check_version_of_remote_step()
        refuse_fields_without_effect(self)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Name the alternatives of every field, so that a form can offer them by name."""
        schema = handler(core_schema)
        for field in handler.resolve_ref_schema(schema).get("properties", {}).values():
            for alternative in field.get("anyOf", []):
                alternative["title"] = _title_of(alternative)
        return schema

    @property
    def runs_remotely(self) -> bool:
        """Whether the step asks for remote execution, wherever the engine runs."""
        return bool(self.execution_mode == "remote")

    def check_execution_mode(self) -> None:
        """Refuse a mode that the operator does not allow.

        Whether the process is offline is looked at when the step is run, as in the engine's own
        blocks: an offline server describes and validates the workflows of others, too.

        Raises:
            ExecutionNotAllowedError: Choose the other mode, or `auto`.
        """
        if self.execution_mode == "auto":
            return
        # Settings that cannot be read are reported where the block is made.
        with contextlib.suppress(SettingsError):
            check_target(Settings.from_environment().access, self.execution_mode)

    def check_version_of_remote_step(self) -> None:
        """Refuse a version that no endpoint offers, where the step names it and asks for one.

        Raises:
            OptionError: Choose another version.
        """
        if self.runs_remotely and not str(self.version).startswith("$"):
            check_remote_version(self.version)

    @classmethod
    def get_execution_engine_compatibility(cls) -> str:
        """Return the versions of the engine that the block is built for."""
        return ENGINE_COMPATIBILITY

    @classmethod
    def get_air_gapped_availability(cls) -> AirGappedAvailability:
        """Declare that the block runs without internet, once its weights are there."""
        return AirGappedAvailability(available=True)

    @classmethod
    def get_restrictions(cls) -> list[RuntimeRestriction]:
        """Return where the block cannot run."""
        return list(RESTRICTIONS)

    def get_actual_restrictions(
        self, *, ignore_environment_restrictions: bool = False
    ) -> Discovery[RuntimeRestriction]:
        """Return where this step cannot run; the same for every configuration of it."""
        return actual_restrictions_of(
            declared=RESTRICTIONS,
            node_id=f"$steps.{self.name}",
            ignore_environment_restrictions=ignore_environment_restrictions,
        )

    def discover_dependent_resources(
        self,
    ) -> list[DependentResource] | Discovery[DependentResource]:
        """Declare the server's model of a remote step, and nothing for the built-in version.

        Meta's weights in this process fit none of the engine's types: naming them as a platform's
        model would let the server look for them in Roboflow's cache and call them missing. Where a
        step in mode `auto` runs is known to the host alone.
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
        """Declare that a model runs, and for a remote step that a request is made."""
        if self.runs_remotely:
            return [WorkOperation.MODEL_INFERENCE, WorkOperation.EXTERNAL_REQUEST]
        return [WorkOperation.MODEL_INFERENCE]


def _title_of(alternative: dict[str, Any]) -> str:
    if alternative.get("reference"):
        return "Selector"
    return "None" if alternative["type"] == "null" else "Value"


def _remote_model_id(version: str) -> str:
    return f"sam2/{version}"
