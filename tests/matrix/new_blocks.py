"""A plugin with blocks that no table knows, as a later release of the engine may bring them."""

from __future__ import annotations

from typing import Any, Literal

import supervision as sv
from pydantic import field_validator
from roboflow_workflows.execution_engine.entities.base import OutputDefinition, WorkflowImageData
from roboflow_workflows.execution_engine.entities.types import (
    IMAGE_KIND,
    INSTANCE_SEGMENTATION_PREDICTION_KIND,
    Selector,
)
from roboflow_workflows.prototypes.block import WorkflowBlock, WorkflowBlockManifest

MASKS = Selector(kind=[INSTANCE_SEGMENTATION_PREDICTION_KIND])


class PassOnManifest(WorkflowBlockManifest):
    type: Literal["roboflow_core/new_pass_on@v1"]
    image: Selector(kind=[IMAGE_KIND])
    masks: MASKS
    mode: Literal["all", "some"]
    limit: int

    @classmethod
    def describe_outputs(cls) -> list[OutputDefinition]:
        return [OutputDefinition(name="masks", kind=[INSTANCE_SEGMENTATION_PREDICTION_KIND])]

    @classmethod
    def get_execution_engine_compatibility(cls) -> str:
        return ">=1.0.0,<2.0.0"


class PassOn(WorkflowBlock):
    @classmethod
    def get_manifest(cls) -> type[WorkflowBlockManifest]:
        return PassOnManifest

    def run(
        self, image: WorkflowImageData, masks: sv.Detections, mode: str, limit: int
    ) -> dict[str, Any]:
        return {"masks": masks}


class LoseRowManifest(PassOnManifest):
    type: Literal["roboflow_core/new_lose_row@v1"]


class LoseRow(PassOn):
    @classmethod
    def get_manifest(cls) -> type[WorkflowBlockManifest]:
        return LoseRowManifest

    def run(self, masks: sv.Detections, **others: Any) -> dict[str, Any]:
        return {"masks": masks[1:]}


class PickyManifest(PassOnManifest):
    type: Literal["roboflow_core/new_picky@v1"]
    mode: str

    @field_validator("mode")
    @classmethod
    def is_a_certain_word(cls, mode: str) -> str:
        if mode != "a certain word":
            raise ValueError("not the word")
        return mode


class Picky(PassOn):
    @classmethod
    def get_manifest(cls) -> type[WorkflowBlockManifest]:
        return PickyManifest


def load_blocks() -> list[type[WorkflowBlock]]:
    return [PassOn, LoseRow, Picky]
