"""What the installed engine says of its blocks: which accept what, and which give what.

Nothing here is run, and no block is named: the blocks of a later engine appear by themselves.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from roboflow_workflows.execution_engine.introspection.blocks_loader import (
    describe_available_blocks,
)
from roboflow_workflows.execution_engine.introspection.entities import (
    BlockDescription,
    SelectorDefinition,
)
from roboflow_workflows.execution_engine.introspection.schema_parser import parse_block_manifest

OURS = "sam2_block/segment@v1"
MASK_KINDS = {"rle_instance_segmentation_prediction", "instance_segmentation_prediction"}
BOX_KINDS = MASK_KINDS | {"object_detection_prediction", "keypoint_detection_prediction"}
ANY_KIND = "*"


@dataclass(frozen=True, order=True)
class Cell:
    """One connection between a block and ours.

    Attributes:
        table: `predictions`: our masks go into `port`, a field of the block. `boxes`: `port` is
            an output of the block and goes into our field `boxes`.
        block: Type of the block.
        port: Field or output of the block.
    """

    table: str
    block: str
    port: str

    def __str__(self) -> str:
        return f"{self.block.removeprefix('roboflow_core/')}-{self.port}"


@functools.cache
def engine_version() -> str:
    """Return the release of the engine, which decides what the blocks are."""
    return f"roboflow-workflows {metadata.version('roboflow-workflows')}"


@functools.cache
def blocks() -> dict[str, BlockDescription]:
    """Return the blocks by type; a type that is an alias is left out."""
    described = describe_available_blocks(dynamic_blocks=[]).blocks
    return {block.manifest_type_identifier: block for block in described}


def core_blocks() -> dict[str, BlockDescription]:
    return {name: block for name, block in blocks().items() if not name.startswith("sam2_block/")}


def selectors(block: BlockDescription) -> dict[str, SelectorDefinition]:
    found: dict[str, SelectorDefinition] = parse_block_manifest(block.manifest_class).selectors
    return found


def kinds_of_field(selector: SelectorDefinition) -> set[str]:
    """Return the kinds of step outputs that a field accepts."""
    return {
        kind.name
        for reference in selector.allowed_references
        if reference.selected_element in {"any_data", "step_output", "batch"}
        for kind in reference.kind
    }


def _cells() -> Iterator[Cell]:
    yield Cell("predictions", OURS, "boxes")
    for name, block in core_blocks().items():
        for field, selector in selectors(block).items():
            if kinds_of_field(selector) & MASK_KINDS:
                yield Cell("predictions", name, field)
        for output in block.outputs_manifest:
            kinds = {kind.name for kind in output.kind}
            if kinds & (BOX_KINDS | {ANY_KIND}):
                yield Cell("boxes", name, output.name)


@functools.cache
def cells() -> tuple[Cell, ...]:
    """Return the connections with masks or boxes that introspection allows, in a fixed order."""
    return tuple(sorted(_cells()))


def declared_need(block: BlockDescription, step: dict[str, Any]) -> str | None:
    """Return what a step says itself that it cannot run without; None where nothing.

    Args:
        block: The block.
        step: A valid definition of the step.
    """
    operations = block.manifest_class.model_validate(step).discover_work_operations()
    operations = getattr(operations, "items", operations) or []
    names = {operation.value for operation in operations}
    if not block.manifest_class.get_air_gapped_availability().available:
        return "needs the internet"
    if "model_inference" in names or "model_manager" in block.block_class.get_init_parameters():
        return "needs a model"
    return None
