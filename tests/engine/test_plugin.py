"""What the engine, its editor and its servers learn of the plugin."""

from __future__ import annotations

import functools
from importlib import metadata
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version
from roboflow_workflows.core_steps import loader
from roboflow_workflows.core_steps.models.foundation.segment_anything2.v1 import (
    BlockManifest as BuiltInManifest,
)
from roboflow_workflows.errors import WorkflowEnvironmentConfigurationError
from roboflow_workflows.execution_engine.core import ExecutionEngine
from roboflow_workflows.execution_engine.entities.types import Kind
from roboflow_workflows.execution_engine.introspection import blocks_loader
from roboflow_workflows.execution_engine.introspection.entities import BlockDescription
from roboflow_workflows.execution_engine.introspection.schema_parser import parse_block_manifest
from roboflow_workflows.execution_engine.introspection.workload import describe_workflow_workload
from roboflow_workflows.execution_engine.v1.core import EXECUTION_ENGINE_V1_VERSION
from roboflow_workflows.prototypes.block import AirGappedAvailability, WorkOperation

import sam2_block
from sam2_block.backends.fake import FakeBackend
from sam2_block.blocks.segment.v1 import SegmentBlockV1, SegmentManifestV1
from sam2_block.settings import Settings
from tests.engine.workflows import DETECTED, detect, parameter, run, scene, segment, workflow

TYPE = "sam2_block/segment@v1"
# The engine in each `roboflow-workflows` release that pyproject.toml could name as the oldest.
ENGINE_OF_RELEASE = {"0.2.13": "1.17.0"}


@functools.cache
def descriptions() -> dict[str, BlockDescription]:
    blocks = blocks_loader.describe_available_blocks(dynamic_blocks=[]).blocks
    ours = [block for block in blocks if block.block_source == "sam2_block"]
    return {block.manifest_type_identifier: block for block in ours}


def description() -> BlockDescription:
    return descriptions()[TYPE]


def step(**fields: Any) -> SegmentManifestV1:
    fields = {"points": [[1, 2]], **fields}
    return SegmentManifestV1(type=TYPE, name="sam", images="$inputs.image", **fields)


def test_engine_describes_the_block() -> None:
    block = description()
    assert block.manifest_type_identifier == TYPE
    assert block.block_class is SegmentBlockV1
    assert block.human_friendly_block_name == "SAM 2 Segment"
    assert [output.name for output in block.outputs_manifest] == ["predictions", "scores"]
    assert block.input_dimensionality_offsets == {}
    assert block.output_dimensionality_offset == 0
    assert list(descriptions()) == [TYPE, "sam2_block/embed@v1"]


def test_kinds_of_the_outputs() -> None:
    kinds = {o.name: [kind.name for kind in o.kind] for o in description().outputs_manifest}
    # The engine serialises by the first kind that works: polygons must come last.
    assert kinds["predictions"] == [
        "sam2_block/instance_segmentation_prediction",
        "rle_instance_segmentation_prediction",
        "instance_segmentation_prediction",
    ]
    assert kinds["scores"] == ["list_of_values"]


def test_restrictions() -> None:
    assert [restriction["severity"] for restriction in description().restrictions] == ["hard"]
    for portable in (True, False):
        actual = step().get_actual_restrictions(ignore_environment_restrictions=portable)
        assert actual.complete
        assert [restriction.code for restriction in actual.items] == [
            "plugin_not_installed_on_hosted_serverless"
        ]


@pytest.mark.parametrize(
    ("version", "complete"), [("demo", True), ("hiera_tiny", False), ("$inputs.version", False)]
)
def test_resources_and_operations(version: str, complete: bool) -> None:
    definition = workflow(segment(points=[[1, 2]], version=version), inputs=[parameter("version")])
    (described,) = describe_workflow_workload(definition).steps
    assert described.resources.items == []
    assert described.resources.complete is complete
    assert described.operations.items == [WorkOperation.MODEL_INFERENCE]
    assert described.operations.complete
    assert described.restrictions.complete


def test_air_gap_and_variants() -> None:
    assert SegmentManifestV1.get_air_gapped_availability() == AirGappedAvailability(available=True)
    # The server would look for them in Roboflow's cache, and call them missing.
    assert SegmentManifestV1.get_supported_model_variants() is None
    assert SegmentManifestV1.get_compatible_task_types() is None


def oldest_release() -> str:
    required = {
        Requirement(line).name: Requirement(line) for line in metadata.requires("sam2-block")
    }
    (floor,) = [s for s in required["roboflow-workflows"].specifier if s.operator == ">="]
    return floor.version


def test_floor_of_the_engine_is_that_of_the_oldest_release() -> None:
    specifier = SpecifierSet(description().execution_engine_compatibility)
    floor = ENGINE_OF_RELEASE[oldest_release()]
    assert str(next(s for s in specifier if s.operator == ">=").version) == floor
    assert EXECUTION_ENGINE_V1_VERSION in specifier
    assert Version("2.0.0") not in specifier


@pytest.mark.skipif(
    metadata.version("roboflow-workflows") != oldest_release(),
    reason="a newer release of the engine is installed",
)
def test_oldest_release_has_that_engine() -> None:
    assert Version(ENGINE_OF_RELEASE[oldest_release()]) == EXECUTION_ENGINE_V1_VERSION


def test_nothing_of_the_engine_is_changed() -> None:
    for name in ("KINDS_DESERIALIZERS", "BLOCKS_SOURCE"):
        assert not hasattr(sam2_block, name)
    # A serializer under the name of an engine's kind would hold for every workflow on the server.
    assert not set(sam2_block.KINDS_SERIALIZERS) & set(loader.KINDS_SERIALIZERS)


def test_kinds_are_known_to_the_editor() -> None:
    (kind,) = sam2_block.load_kinds()
    declared = blocks_loader.describe_available_blocks(dynamic_blocks=[]).declared_kinds
    assert kind in declared
    assert isinstance(kind, Kind)
    assert kind.description
    assert kind.docs
    assert set(sam2_block.KINDS_SERIALIZERS) == {kind.name}


def test_initializers_are_those_of_the_block() -> None:
    for block in sam2_block.load_blocks():
        assert set(sam2_block.REGISTERED_INITIALIZERS) == set(block.get_init_parameters())
    registered = blocks_loader.load_initializers()
    values = {
        name: registered[f"sam2_block.{name}"]() for name in SegmentBlockV1.get_init_parameters()
    }
    assert values.pop("backend") is None
    assert Settings().override(**values) == Settings.from_environment()


def test_init_parameter_of_the_caller_wins_only_under_the_name_of_the_plugin() -> None:
    definition = workflow(segment(points=[[1, 2]]))
    # An error of the engine's, so that a server shows what it says.
    with pytest.raises(WorkflowEnvironmentConfigurationError, match=r"^SAM2_BLOCK_DEVICE: .*'gpu'"):
        ExecutionEngine.init(definition, init_parameters={"sam2_block.device": "gpu"})
    ExecutionEngine.init(definition, init_parameters={"device": "gpu"})


# --- a superset of the built-in block ---


def test_takes_every_field_of_the_built_in_block_with_its_default() -> None:
    fields = BuiltInManifest.model_fields
    assert set(fields) <= set(SegmentManifestV1.model_fields)
    for name in set(fields) - {"type"}:
        assert SegmentManifestV1.model_fields[name].default == fields[name].default, name


def test_takes_selectors_of_every_kind_that_the_built_in_block_takes() -> None:
    theirs, ours = parse_block_manifest(BuiltInManifest), parse_block_manifest(SegmentManifestV1)
    assert theirs.selectors
    for name, selector in theirs.selectors.items():
        (taken,), (needed,) = (
            ours.selectors[name].allowed_references,
            selector.allowed_references,
        )
        assert {kind.name for kind in needed.kind} <= {kind.name for kind in taken.kind}, name


@pytest.mark.parametrize(
    "fields",
    [
        {},
        *[{"version": f"hiera_{size}"} for size in ("tiny", "small", "b_plus", "large")],
        {"version": "$inputs.version"},
        {"threshold": 0.3},
        {"threshold": 1},
        {"threshold": "$inputs.threshold"},
        {"multimask_output": False},
        {"multimask_output": None},
        {"multimask_output": "$inputs.multimask_output"},
    ],
)
def test_step_of_the_built_in_block_runs_under_our_type(
    fields: dict[str, Any], fake_backend: FakeBackend
) -> None:
    built_in = {
        "type": "roboflow_core/segment_anything@v1",
        "name": "sam",
        "images": "$inputs.image",
        "boxes": DETECTED,
        **fields,
    }
    BuiltInManifest(**built_in)
    values = {"version": "hiera_large", "threshold": 0.5, "multimask_output": True}
    definition = workflow(
        detect(), {**built_in, "type": TYPE}, inputs=[parameter(name) for name in values]
    )
    image = scene(60, 80, (10, 8, 30, 20))
    (result,) = run(definition, fake_backend, image, **values)
    assert len(result["predictions"]) == (0 if fields == {"threshold": 1} else 1)
