"""What a visual editor asks a server with the plugin, over HTTP, and needs of the answers."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from packaging.specifiers import SpecifierSet

import sam2_block
from tests.engine.workflows import DETECTED, DETECTOR, detect, segment, workflow
from tests.examples.conftest import EXAMPLES, read_example
from tests.remote.server import VERSION, Sam2Server

BLOCKS = {
    block.get_manifest().model_fields["type"].examples[0]: block
    for block in sam2_block.load_blocks()
}
SEGMENT, EMBED = BLOCKS
DESCRIBE = "/workflows/blocks/describe"
KEY = {"api_key": "any"}
STEP = {"name": "sam", "images": "$inputs.image"}


def ask(server: Sam2Server, path: str, body: Any = None, method: str = "POST") -> httpx.Response:
    return httpx.request(method, server.url + path, json=body, timeout=300, trust_env=False)


def answer(server: Sam2Server, path: str, body: Any = None, method: str = "POST") -> Any:
    """Ask, and return what a server that agrees has answered."""
    answered = ask(server, path, body, method)
    assert answered.status_code == 200, answered.text
    return answered.json()


# --- which blocks there are ---

QUESTIONS: dict[str, tuple[str, str, Any]] = {
    "GET": ("GET", DESCRIBE, None),
    "GET, air-gapped": ("GET", DESCRIBE + "?air_gapped=true", None),
    "POST without a body": ("POST", DESCRIBE, None),
    "POST": ("POST", DESCRIBE, KEY),
    "a dynamic block": ("POST", DESCRIBE, {**KEY, "dynamic_blocks_definitions": [DETECTOR]}),
    "an engine version": ("POST", DESCRIBE, {**KEY, "execution_engine_version": "1.17.0"}),
    "both": (
        "POST",
        DESCRIBE,
        {"dynamic_blocks_definitions": [DETECTOR], "execution_engine_version": "1.17.0"},
    ),
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_blocks_are_described(sam2_server: Sam2Server, question: str) -> None:
    method, path, body = QUESTIONS[question]
    described = answer(sam2_server, path, body, method)
    found = {block["manifest_type_identifier"]: block for block in described["blocks"]}
    assert ("BlobDetector" in found) is ("dynamic_blocks_definitions" in (body or {}))
    assert {name for name, block in found.items() if block["block_source"] == "sam2_block"} == {
        SEGMENT,
        EMBED,
    }
    declared = {kind["name"] for kind in described["declared_kinds"]}
    for name, block in BLOCKS.items():
        manifest, said = block.get_manifest(), found[name]
        assert said["block_schema"] == json.loads(json.dumps(manifest.model_json_schema()))
        assert said["human_friendly_block_name"] == said["block_schema"]["name"]
        assert said["execution_engine_compatibility"] == ">=1.17.0,<2.0.0"
        assert [restriction["severity"] for restriction in said["restrictions"]] == ["hard"]
        outputs = {
            one["name"]: [k["name"] for k in one["kind"]] for one in said["outputs_manifest"]
        }
        assert outputs == {
            one.name: [kind.name for kind in one.kind] for one in manifest.describe_outputs()
        }
        assert declared.issuperset(kind for kinds in outputs.values() for kind in kinds)


def test_blocks_are_left_out_for_an_older_engine(sam2_server: Sam2Server) -> None:
    described = answer(sam2_server, DESCRIBE, {**KEY, "execution_engine_version": "1.16.0"})
    found = {block["manifest_type_identifier"] for block in described["blocks"]}
    assert "roboflow_core/segment_anything@v1" in found
    assert not found & set(BLOCKS)


def test_server_has_an_engine_for_the_blocks(sam2_server: Sam2Server) -> None:
    versions = answer(sam2_server, "/workflows/execution_engine/versions", method="GET")["versions"]
    for block in BLOCKS.values():
        specifier = SpecifierSet(block.get_manifest().get_execution_engine_compatibility())
        assert list(specifier.filter(versions)), versions


def test_what_can_be_connected_or_written_in_each_field(sam2_server: Sam2Server) -> None:
    described = answer(sam2_server, DESCRIBE, KEY)
    connected = {
        (end["manifest_type_identifier"], end["property_name"], kind)
        for kind, ends in described["kinds_connections"].items()
        for end in ends
    }
    written = {
        (one["manifest_type_identifier"], one["property_name"])
        for one in described["primitives_connections"]
    }
    for name, block in BLOCKS.items():
        for field, schema in block.get_manifest().model_json_schema()["properties"].items():
            ways = schema.get("anyOf", [schema])
            kinds = {kind["name"] for way in ways for kind in way.get("kind", [])}
            assert {(name, field, kind) for kind in kinds} <= connected
            if field not in ("type", "name"):
                literal = any(not way.get("reference") and way["type"] != "null" for way in ways)
                assert ((name, field) in written) is literal, field


# --- a definition in the JSON editor ---


@pytest.fixture(scope="module")
def schema(sam2_server: Sam2Server) -> dict[str, Any]:
    described = answer(sam2_server, "/workflows/definition/schema", method="GET")
    schema: dict[str, Any] = described["schema"]
    return schema


def test_schema_of_definitions_has_the_blocks(schema: dict[str, Any]) -> None:
    named = schema["properties"]["steps"]["items"]["discriminator"]["mapping"]
    for name, block in BLOCKS.items():
        definition = schema["$defs"][named[name].rpartition("/")[2]]
        assert definition["properties"] == json.loads(
            json.dumps(block.get_manifest().model_json_schema()["properties"])
        )


@pytest.mark.parametrize(
    ("fields", "valid"),
    [
        ({"boxes": "$steps.model.predictions"}, True),
        ({"points": [[1, 2]], "threshold": 0.5, "class_filter": ["a"]}, True),
        ({"threshold": 7}, False),
        ({"version": "huge"}, False),
        ({"invalid_boxes": "skip"}, False),
        ({"images": "photo.png"}, False),
    ],
)
def test_schema_of_definitions_tells_right_from_wrong(
    schema: dict[str, Any], fields: dict[str, Any], valid: bool
) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    mapping = schema["properties"]["steps"]["items"]["discriminator"]["mapping"]
    of_step = {"$ref": mapping[SEGMENT], "$defs": schema["$defs"]}
    validator = jsonschema.Draft202012Validator(of_step)
    assert validator.is_valid(segment(**fields)) is valid


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.json")))
def test_examples_are_valid(sam2_server: Sam2Server, name: str) -> None:
    validated = answer(sam2_server, "/workflows/validate", read_example(name))
    assert validated == {"status": "ok"}


@pytest.mark.parametrize("mode", ["auto", "local", "remote"])
def test_every_mode_is_valid(sam2_server: Sam2Server, mode: str) -> None:
    definition = workflow(detect(), segment(boxes=DETECTED, version=VERSION, execution_mode=mode))
    assert answer(sam2_server, "/workflows/validate", definition) == {"status": "ok"}


@pytest.mark.parametrize(
    ("fields", "property_name", "says"),
    [
        ({}, None, "nothing to segment: connect `boxes`"),
        ({"points": [[1, 2]], "threshold": 7}, "threshold", "expected 0 to 1; got 7"),
        ({"points": [[1, 2]], "class_filter": ["a"]}, "class_filter", "no effect without `boxes`"),
        (
            {"points": [[1, 2]], "execution_mode": "local", "api_key": "rf_0123456789"},
            "api_key",
            "no effect where `execution_mode` is `local`",
        ),
    ],
)
def test_mistake_is_told_at_its_step_and_field(
    sam2_server: Sam2Server, fields: dict[str, Any], property_name: str | None, says: str
) -> None:
    answered = ask(sam2_server, "/workflows/validate", workflow(segment(**fields)))
    assert answered.status_code == 400
    (error,) = answered.json()["blocks_errors"]
    assert (error["block_id"], error["block_type"]) == ("sam", SEGMENT)
    assert error["property_name"] == property_name
    assert says in error["property_details"]
    assert "rf_0123456789" not in answered.text


# --- what goes in and comes out ---


def test_interface_of_a_workflow(sam2_server: Sam2Server) -> None:
    outputs = {
        "predictions": "$steps.sam.predictions",
        "scores": "$steps.sam.scores",
        "all": "$steps.sam.*",
        "image": "$steps.embed.image",
    }
    embed = {"type": EMBED, "name": "embed", "images": "$inputs.image", "version": "demo"}
    definition = workflow(
        embed,
        segment(images="$steps.embed.image", points="$inputs.points"),
        inputs=[{"type": "WorkflowParameter", "name": "points", "kind": ["labeled_points"]}],
        outputs=outputs,
    )
    described = answer(
        sam2_server, "/workflows/describe_interface", {**KEY, "specification": definition}
    )
    masks = [
        "sam2_block/instance_segmentation_prediction",
        "rle_instance_segmentation_prediction",
        "instance_segmentation_prediction",
    ]
    inputs = {name: set(kinds) for name, kinds in described["inputs"].items()}
    # What the field takes; the engine adds it to what the input declares.
    assert inputs == {"image": {"image"}, "points": {"labeled_points", "list_of_values"}}
    assert described["outputs"] == {
        "predictions": masks,
        "scores": ["list_of_values"],
        "all": {"predictions": masks, "scores": ["list_of_values"]},
        "image": ["image"],
    }
    kinds = {"image", "labeled_points", "list_of_values", *masks}
    assert set(described["typing_hints"]) == kinds
    assert "instance_segmentation_prediction" in described["kinds_schemas"]


@pytest.mark.parametrize("name", BLOCKS)
def test_outputs_of_a_step(sam2_server: Sam2Server, name: str) -> None:
    step = {**STEP, "type": name, **({"points": [[1, 2]]} if name == SEGMENT else {})}
    described = answer(sam2_server, "/workflows/blocks/dynamic_outputs", step)
    expected = BLOCKS[name].get_manifest().describe_outputs()
    assert [
        (output["name"], [kind["name"] for kind in output["kind"]]) for output in described
    ] == [(output.name, [kind.name for kind in output.kind]) for output in expected]


def test_outputs_of_a_step_without_prompts(sam2_server: Sam2Server) -> None:
    answered = ask(sam2_server, "/workflows/blocks/dynamic_outputs", {**STEP, "type": SEGMENT})
    assert answered.status_code == 400
    (error,) = answered.json()["blocks_errors"]
    assert error["property_details"].startswith("Value error, nothing to segment: connect `boxes`")


def test_workload_of_a_workflow(sam2_server: Sam2Server) -> None:
    local = segment(points=[[1, 2]])
    remote = {**local, "name": "remote", "version": VERSION, "execution_mode": "remote"}
    body = {**KEY, "specification": workflow(local, remote)}
    described = answer(sam2_server, "/workflows/describe_workload", body)
    steps = {step["node_id"]: step for step in described["steps"]}
    here, there = steps["$steps.sam"], steps["$steps.remote"]
    assert set(here["operations"]["items"]) == {"model_inference"}
    assert set(there["operations"]["items"]) == {"model_inference", "external_request"}
    assert (here["resources"]["items"], here["resources"]["complete"]) == ([], True)
    (resource,) = there["resources"]["items"]
    assert resource["metadata"]["model_id"] == f"sam2/{VERSION}"
