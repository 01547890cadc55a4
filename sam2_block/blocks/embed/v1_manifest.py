"""The manifest of `sam2_block/embed@v1`: inputs, outputs and declarations."""

from __future__ import annotations

from typing import Literal

from roboflow_workflows.execution_engine.entities.base import OutputDefinition
from roboflow_workflows.execution_engine.entities.types import IMAGE_KIND

from sam2_block.blocks.shared_fields import (
    ApiKey,
    ApiUrl,
    ExecutionMode,
    Images,
    Sam2Manifest,
    Version,
    api_key_field,
    api_url_field,
    execution_mode_field,
    images_field,
    manifest_config,
    type_field,
    version_field,
)

SHORT_DESCRIPTION = "Encode an image with SAM 2 before it is prompted."

LONG_DESCRIPTION = """
Run the image encoder of Meta's SAM 2, which is the slow part, and cache the embedding in this
process or on the server. The output is the image itself. Every **SAM 2 Segment** step of the same
version on this image then reuses the embedding and skips the encoder.

Put this block in parallel with the detector, so that both run at the same time; or run a workflow
with only this block to load the model before the first request.
"""


class EmbedManifestV1(Sam2Manifest):
    """Inputs and outputs of `sam2_block/embed@v1`."""

    model_config = manifest_config(
        name="SAM 2 Embed Image",
        short_description=SHORT_DESCRIPTION,
        long_description=LONG_DESCRIPTION,
        search_keywords=["embedding", "warm up"],
        priority=9.5,
    )

    type: Literal["sam2_block/embed@v1"] = type_field("sam2_block/embed@v1")
    images: Images = images_field()
    version: Version = version_field()
    execution_mode: ExecutionMode = execution_mode_field()
    api_url: ApiUrl = api_url_field()
    api_key: ApiKey = api_key_field()

    @classmethod
    def get_parameters_accepting_batches(cls) -> list[str]:
        """Return the fields that always come as a batch."""
        return ["images"]

    @classmethod
    def describe_outputs(cls) -> list[OutputDefinition]:
        """Return the output: the input image."""
        return [OutputDefinition(name="image", kind=[IMAGE_KIND])]
