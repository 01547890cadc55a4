"""Every field of every block: what an editor shows of it, and that its hints are checked."""

from __future__ import annotations

from collections.abc import Callable
from types import UnionType
from typing import Any, Union, get_args, get_origin

import pytest
from pydantic import ValidationError
from roboflow_workflows.execution_engine.introspection.schema_parser import parse_block_manifest

import sam2_block

MANIFESTS = [block.get_manifest() for block in sam2_block.load_blocks()]
Manifest = type[Any]


def of_every_field(
    chosen: Callable[[Any], bool] = lambda field: True,
) -> pytest.MarkDecorator:
    """Run a test for each of these fields of each block."""
    cases = [
        pytest.param(manifest, name, id=f"{manifest.__name__}-{name}")
        for manifest in MANIFESTS
        for name, field in manifest.model_fields.items()
        if chosen(field)
    ]
    return pytest.mark.parametrize(("manifest", "name"), cases)


def hint(field: Any) -> dict[str, Any]:
    extra = field.json_schema_extra or {}
    return extra.get("relevant_for", {})


def step(manifest: Manifest, **fields: Any) -> Any:
    """Make a step; one that takes prompts gets boxes and points."""
    prompts = {"boxes": "$steps.model.predictions", "points": [[1, 2]]}
    (block_type,) = manifest.model_fields["type"].examples
    given = {"type": block_type, "name": "step", "images": "$inputs.image"}
    given |= {name: value for name, value in prompts.items() if name in manifest.model_fields}
    return manifest(**{**given, **fields})


@of_every_field()
def test_editor_can_show_it(manifest: Manifest, name: str) -> None:
    shown = manifest.model_json_schema()["properties"][name]
    assert shown["title"]
    assert shown["description"].endswith(".")
    assert shown["examples"]


@of_every_field()
def test_examples_and_default_are_valid(manifest: Manifest, name: str) -> None:
    field = manifest.model_fields[name]
    for value in [*([] if field.is_required() else [field.default]), *field.examples]:
        assert getattr(step(manifest, **{name: value}), name) == value


@of_every_field(lambda field: field.is_required())
def test_required_field_is_missed_by_name(manifest: Manifest, name: str) -> None:
    given = step(manifest).model_dump(exclude={name})
    with pytest.raises(ValidationError) as caught:
        manifest(**given)
    assert [error["loc"] for error in caught.value.errors()] == [(name,)]


@of_every_field(lambda field: "values_metadata" in (field.json_schema_extra or {}))
def test_editor_can_show_every_choice(manifest: Manifest, name: str) -> None:
    field = manifest.model_fields[name]
    choices = field.json_schema_extra["values_metadata"]
    assert set(choices) == set(get_args(field.annotation))
    for choice in choices.values():
        assert choice["name"]
        assert choice["description"]


@of_every_field(lambda field: get_origin(field.annotation) in (Union, UnionType))
def test_a_form_can_name_the_alternatives(manifest: Manifest, name: str) -> None:
    alternatives = manifest.model_json_schema()["properties"][name]["anyOf"]
    titles = [alternative["title"] for alternative in alternatives]
    assert len(set(titles)) == len(titles)
    for alternative in alternatives:
        assert (alternative["title"] == "Selector") is alternative.get("reference", False)


# --- fields that matter only beside others ---

hinted = of_every_field(lambda field: bool(hint(field)))


def without_effect(manifest: Manifest, name: str) -> list[dict[str, Any]]:
    """Return the values of other fields with which this one does nothing."""
    cases = []
    for other, condition in hint(manifest.model_fields[name]).items():
        values = condition.get("values")
        choices = get_args(manifest.model_fields[other].annotation)
        cases += [
            {other: one} for one in ([None] if values is None else set(choices) - set(values))
        ]
    return cases


def test_which_fields_have_hints() -> None:
    segment, embed = MANIFESTS
    found = {m: {n for n, field in m.model_fields.items() if hint(field)} for m in MANIFESTS}
    assert found[embed] == {"api_url", "api_key"}
    of_boxes = {"class_filter", "confidence_source", "invalid_boxes"}
    assert found[segment] == {"api_url", "api_key"} | of_boxes


@hinted
def test_hint_is_of_a_form_that_the_engine_s_own_blocks_use(manifest: Manifest, name: str) -> None:
    for other, condition in hint(manifest.model_fields[name]).items():
        assert other in manifest.model_fields
        # `required` asks the editor to demand a value; ours all have a default.
        assert condition["required"] is False
        assert len(condition) == 2
        if "kind" in condition:
            (reference,) = parse_block_manifest(manifest).selectors[other].allowed_references
            assert set(condition["kind"]) == {kind.name for kind in reference.kind}
        else:
            assert set(condition["values"]) < set(get_args(manifest.model_fields[other].annotation))


@hinted
def test_field_without_effect_is_refused_by_name(manifest: Manifest, name: str) -> None:
    field = manifest.model_fields[name]
    for others in without_effect(manifest, name):
        (other,) = others
        step(manifest, **others, **{name: field.default})
        for value in field.examples:
            if value == field.default:
                continue
            with pytest.raises(ValidationError) as caught:
                step(manifest, **others, **{name: value})
            (error,) = caught.value.errors()
            assert error["loc"] == (name,)
            assert error["msg"].startswith(f"`{name}` has no effect w")
            assert f"`{other}`" in error["msg"]
            assert error["msg"].endswith(f", or leave `{name}` out.")
            assert str(value) not in error["msg"]
            assert error["input"] is None


@hinted
def test_field_with_effect_is_taken(manifest: Manifest, name: str) -> None:
    field = manifest.model_fields[name]
    for other, condition in hint(field).items():
        for needed in condition.get("values", ["$steps.x.y"]):
            for value in [field.default, *field.examples]:
                step(manifest, **{other: needed, name: value})


def test_every_field_without_effect_is_told_at_once() -> None:
    with pytest.raises(ValidationError) as caught:
        step(
            MANIFESTS[0], boxes=None, class_filter=["a"], execution_mode="local", api_url="http://x"
        )
    assert [error["loc"] for error in caught.value.errors()] == [("class_filter",), ("api_url",)]


def test_what_is_empty_asks_for_nothing() -> None:
    """A form leaves such values where a field was filled in and emptied again."""
    step(MANIFESTS[0], boxes=None, class_filter=[], execution_mode="local", api_url="", api_key="")


@pytest.mark.parametrize("manifest", MANIFESTS)
def test_editor_knows_the_block(manifest: Manifest) -> None:
    schema = manifest.model_json_schema()
    assert schema["title"] == schema["name"]
    assert schema["description"] == schema["short_description"]
    assert schema["long_description"].strip()
    assert schema["search_keywords"]
    assert (schema["version"], schema["license"]) == ("v1", "Apache-2.0")
    assert schema["block_type"] == schema["ui_manifest"]["section"] == "model"
    needed = {"section", "icon", "blockPriority", "needsGPU", "inference"}
    assert schema["ui_manifest"].keys() >= needed


@pytest.mark.parametrize("manifest", MANIFESTS)
def test_schema_is_one(manifest: Manifest) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.Draft202012Validator.check_schema(manifest.model_json_schema())
