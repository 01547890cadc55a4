"""A form that a library of others makes of `manifests/`, and the steps that come out of it."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from roboflow_workflows.errors import WorkflowSyntaxError
from roboflow_workflows.execution_engine.core import ExecutionEngine

from sam2_block.backends.fake import FakeBackend
from tests.builder.browser import fill_in
from tests.engine.workflows import DETECTED, detect, parameter, run, scene, workflow

MANIFESTS = Path(__file__).parents[2] / "manifests"
PHOTO = scene(60, 80, (10, 8, 30, 20), (40, 30, 60, 50))

NAME_AND_IMAGE = [["fill", "name", "sam"], ["fill", "images", "$inputs.image"]]
BOXES = [["choose", "boxes", "Selector"], ["fill", "boxes", DETECTED]]
# A list opens with one empty item in this library.
CLASSES = [
    ["choose", "class_filter", "Value"],
    ["fill", "class_filter.0", "blob 1"],
    ["add", "class_filter"],
    ["fill", "class_filter.1", "blob 7"],
]
# Every field that takes the value of an input, with an input of its name.
SELECTORS = ("version", "threshold", "multimask_output", "class_filter", "api_url", "api_key")

WAYS: dict[str, dict[str, list[list[str]]]] = {
    "segment_v1": {
        "only what is required": NAME_AND_IMAGE,
        "boxes": NAME_AND_IMAGE + BOXES,
        "values": [
            *NAME_AND_IMAGE,
            *BOXES,
            ["fill", "version", "demo"],
            ["fill", "threshold", "0.25"],
            ["fill", "multimask_output", "false"],
            *CLASSES,
            ["fill", "confidence_source", "detector"],
            ["fill", "invalid_boxes", "error"],
            ["fill", "execution_mode", "local"],
        ],
        "inputs": [
            *NAME_AND_IMAGE,
            *BOXES,
            ["choose", "points", "Selector"],
            ["fill", "points", "$inputs.points"],
            *[["choose", field, "Selector"] for field in SELECTORS],
            *[["fill", field, f"$inputs.{field}"] for field in SELECTORS],
        ],
        "written points": [
            *NAME_AND_IMAGE,
            ["choose", "points", "Value"],
            ["choose", "points.0", "array"],
            ["choose", "points.0.0", "integer"],
            ["fill", "points.0.0", "20"],
            ["add", "points.0"],
            ["choose", "points.0.1", "integer"],
            ["fill", "points.0.1", "12"],
        ],
        "classes without boxes": [
            *NAME_AND_IMAGE,
            ["choose", "points", "Selector"],
            ["fill", "points", "$inputs.points"],
            *CLASSES,
        ],
        "too high": [*NAME_AND_IMAGE, *BOXES, ["fill", "threshold", "7"]],
    },
    "embed_v1": {
        "only what is required": NAME_AND_IMAGE,
        "values": [
            *NAME_AND_IMAGE,
            ["fill", "version", "hiera_small"],
            ["fill", "execution_mode", "remote"],
            ["choose", "api_url", "Value"],
            ["fill", "api_url", "https://serverless.roboflow.com"],
            ["choose", "api_key", "Selector"],
            ["fill", "api_key", "$inputs.api_key"],
        ],
    },
}


@functools.cache
def schema(block: str) -> dict[str, Any]:
    described: dict[str, Any] = json.loads((MANIFESTS / f"{block}.json").read_text())["schema"]
    return described


@pytest.fixture(scope="module")
def forms(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    """Fill in a block's form, once."""
    return functools.cache(
        lambda block: fill_in(tmp_path_factory.mktemp(block), schema(block), WAYS[block])
    )


@pytest.fixture
def form(request: pytest.FixtureRequest, forms: Callable[[str], Any]) -> Any:
    """What the browser showed of a block's form, and what came out of it."""
    return forms(request.param)


def of_block(*blocks: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("form", blocks, indirect=True)


def compiled(step: dict[str, Any], outputs: dict[str, str]) -> ExecutionEngine:
    inputs = [parameter(name) for name in ("points", *SELECTORS)]
    return ExecutionEngine.init(workflow(detect(), step, inputs=inputs, outputs=outputs))


def refusal(step: dict[str, Any]) -> Any:
    with pytest.raises(WorkflowSyntaxError) as caught:
        compiled(step, {"predictions": "$steps.sam.predictions"})
    (error,) = caught.value.blocks_errors
    return error


@pytest.mark.parametrize(
    ("form", "field"),
    [(block, field) for block in WAYS for field in schema(block)["properties"]],
    indirect=["form"],
)
def test_field_is_shown(form: Any, field: str, request: pytest.FixtureRequest) -> None:
    described = schema(request.node.callspec.params["form"])["properties"][field]
    shown = form["shown"][field]
    assert list(shown) == [one["title"] for one in described.get("anyOf", [])] or [*shown] == [""]
    for alternative, seen in shown.items():
        assert described["title"] in seen["text"]
        if alternative != "None":  # of which there is nothing to show
            assert described["description"] in seen["text"]
            assert seen["controls"] > 0


@of_block(*WAYS)
def test_fields_are_in_order_under_the_block_s_name(
    form: Any, request: pytest.FixtureRequest
) -> None:
    described = schema(request.node.callspec.params["form"])
    places = [
        form["title"].index(text)
        for text in (
            described["name"],
            described["short_description"],
            *[f"\n{field['title']}" for field in described["properties"].values()],
        )
    ]
    assert places == sorted(places)


@of_block("segment_v1")
def test_form_as_it_opens_has_the_defaults(form: Any) -> None:
    expected = {
        name: field["default"]
        for name, field in schema("segment_v1")["properties"].items()
        if "default" in field
    }
    required = {"type": "sam2_block/segment@v1", "name": "sam", "images": "$inputs.image"}
    assert form["values"]["only what is required"] == {**required, **expected}


@of_block("segment_v1")
def test_step_of_the_form_runs(form: Any, fake_backend: FakeBackend) -> None:
    step = form["values"]["values"]
    assert step["boxes"] == DETECTED
    assert step["threshold"] == 0.25
    assert step["multimask_output"] is False
    assert step["class_filter"] == ["blob 1", "blob 7"]
    (result,) = run(workflow(detect(), step), fake_backend, PHOTO)
    assert result["predictions"]["class_name"].tolist() == ["blob 1"]
    assert result["predictions"].confidence.tolist() == [0.5]  # the detector's


@of_block("segment_v1")
@pytest.mark.parametrize("way", ["boxes", "values", "inputs", "written points"])
def test_step_of_the_form_compiles(form: Any, way: str) -> None:
    assert form["problems"][way] == []
    step = form["values"][way]
    compiled(step, {"predictions": "$steps.sam.predictions"})
    if way == "inputs":
        assert all(step[field] == f"$inputs.{field}" for field in ("points", *SELECTORS))
    if way == "written points":
        assert step["points"] == [[20, 12]]


@of_block("embed_v1")
@pytest.mark.parametrize("way", WAYS["embed_v1"])
def test_step_of_the_embed_form_compiles(form: Any, way: str) -> None:
    assert form["problems"][way] == []
    compiled(form["values"][way], {"image": "$steps.sam.image"})


@of_block("segment_v1")
def test_step_without_prompts_is_refused(form: Any) -> None:
    error = refusal(form["values"]["only what is required"])
    assert error.property_details.startswith("Value error, nothing to segment: connect `boxes`")


@of_block("segment_v1")
def test_field_that_would_do_nothing_is_refused(form: Any) -> None:
    error = refusal(form["values"]["classes without boxes"])
    assert error.property_name == "class_filter"
    assert error.property_details.startswith("`class_filter` has no effect without `boxes`")


@of_block("segment_v1")
def test_value_out_of_range_is_refused_at_its_field(form: Any) -> None:
    """By the engine: this library does not check the alternatives of a union."""
    error = refusal(form["values"]["too high"])
    assert error.property_name == "threshold"
    assert "expected 0 to 1; got 7" in error.property_details
