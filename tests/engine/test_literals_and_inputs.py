"""One rule for a field's value, whether the definition holds it or an input brings it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from roboflow_workflows.errors import RuntimeInputError, WorkflowSyntaxError
from roboflow_workflows.execution_engine.introspection.schema_parser import parse_block_manifest

import sam2_block
from sam2_block.backends.fake import FakeBackend
from sam2_block.messages.short_repr import short_repr
from tests.engine.workflows import DETECTED, detect, parameter, run, scene, segment, workflow

PHOTO = scene(60, 80, (10, 8, 30, 20))
POINT = [[5, 5]]

# What a definition, which is JSON, can hold.
ODD: list[Any] = [
    *(None, True, False, 0, 1, 2, -1, 0.0, 1.0, 0.5, 1.5, -0.1, 10**300),
    *(float("nan"), float("inf"), "", "0.5", "1", "true", "false", "yes", "abc", "demo"),
    *([], [1], ["coin"], ["coin", 3], [None], [[5, 5]], ("coin",), {}, {"x": 5, "y": 5}),
    *([{"x": 5, "y": 5}], "[[5, 5]]", [[5, 5, "false"]], [[5, True]], [["5", "5"]], [[[5, 5]]]),
]
FIELDS = {
    "segment": ("points", "version", "threshold", "multimask_output", "class_filter"),
    "embed": ("version",),
}
OF_THE_SERVER = ("api_url", "api_key")


def embed(**fields: Any) -> dict[str, Any]:
    step = {"type": "sam2_block/embed@v1", "name": "sam", "images": "$inputs.image"}
    return {**step, "version": "demo", **fields}


def outcome(block: str, fields: dict[str, Any], **values: Any) -> str:
    """Return `accepted`, or where it was refused."""
    inputs = [parameter(name) for name in values]
    if block == "embed":
        definition = workflow(embed(**fields), inputs=inputs, outputs={"a": "$steps.sam.image"})
    else:
        step = segment(**{"boxes": DETECTED, "points": POINT, **fields})
        definition = workflow(detect(), step, inputs=inputs)
    try:
        run(definition, FakeBackend(), PHOTO, **values)
    except (WorkflowSyntaxError, RuntimeInputError):
        return "refused"
    return "accepted"


def test_which_fields_take_the_value_of_an_input() -> None:
    expected = {*FIELDS["segment"], *OF_THE_SERVER, "images", "boxes"}
    for block in sam2_block.load_blocks():
        manifest = block.get_manifest()
        selectors = parse_block_manifest(manifest).selectors
        assert set(selectors) == expected & set(manifest.model_fields)


@pytest.mark.parametrize(
    "value", ODD, ids=lambda value: f"{type(value).__name__} {short_repr(value)}"[:30]
)
@pytest.mark.parametrize(
    ("block", "field"), [(block, field) for block, fields in FIELDS.items() for field in fields]
)
def test_same_outcome(block: str, field: str, value: Any) -> None:
    assert outcome(block, {field: value}) == outcome(block, {field: "$inputs.value"}, value=value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("threshold", True),
        ("threshold", "0.5"),
        ("threshold", float("nan")),
        ("multimask_output", "yes"),
        ("multimask_output", "false"),
        ("version", 3),
        ("class_filter", "coin"),
        ("points", {"x": 5, "y": 5}),
        ("points", "[[5, 5]]"),
        ("points", [[5, 5, "false"]]),
    ],
)
def test_what_both_refuse(field: str, value: Any) -> None:
    assert outcome("segment", {field: value}) == "refused"
    assert outcome("segment", {field: "$inputs.value"}, value=value) == "refused"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("threshold", 1),
        ("multimask_output", 1),
        ("multimask_output", None),
        ("class_filter", ("coin",)),
        ("class_filter", None),
        ("points", None),
    ],
)
def test_what_both_accept(field: str, value: Any) -> None:
    assert outcome("segment", {field: value}) == "accepted"
    assert outcome("segment", {field: "$inputs.value"}, value=value) == "accepted"


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("threshold", np.float32(0.5), "accepted"),
        ("threshold", np.float64(0.5), "accepted"),
        ("threshold", np.bool_(True), "refused"),
        ("threshold", np.complex64(0.5), "refused"),
        pytest.param("threshold", 10**5000, "refused", id="more digits than Python writes"),
        ("multimask_output", np.bool_(True), "accepted"),
        ("multimask_output", np.int64(1), "accepted"),
        ("multimask_output", np.array([True]), "refused"),
        ("multimask_output", b"true", "refused"),
        ("version", np.str_("demo"), "accepted"),
        ("version", b"demo", "refused"),
        ("class_filter", {"coin"}, "accepted"),
        ("class_filter", [b"coin"], "refused"),
        ("class_filter", np.array(["coin"]), "refused"),
        ("points", np.array([[5, 5]]), "accepted"),
        ("points", {(5, 5)}, "refused"),
        ("points", b"abc", "refused"),
        ("points", object(), "refused"),
    ],
)
def test_values_that_only_an_input_can_bring(field: str, value: Any, expected: str) -> None:
    assert outcome("segment", {field: "$inputs.value"}, value=value) == expected


@pytest.mark.parametrize("field", OF_THE_SERVER)
@pytest.mark.parametrize("value", [3, True, ["a"], {}])
def test_server_and_key_are_text(field: str, value: Any) -> None:
    remote = {"version": "hiera_tiny", "execution_mode": "remote"}
    for given, inputs in (({field: value}, {}), ({field: "$inputs.value"}, {"value": value})):
        step = segment(points=POINT, **remote, **given)
        definition = workflow(step, inputs=[parameter(name) for name in inputs])
        with pytest.raises((WorkflowSyntaxError, RuntimeInputError)):
            run(definition, None, PHOTO, settings={"api_url": "http://127.0.0.1:9"}, **inputs)
