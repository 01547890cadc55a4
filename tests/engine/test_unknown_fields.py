"""A field that a block does not have is refused, and the nearest name is given."""

from __future__ import annotations

import difflib
from typing import Any

import pytest
from roboflow_workflows.core_steps.models.foundation.segment_anything2.v1 import BlockManifest
from roboflow_workflows.errors import WorkflowSyntaxError

import sam2_block
from sam2_block.backends.fake import FakeBackend
from tests.engine.workflows import run, scene, segment, workflow

PHOTO = scene(60, 80)
POINT = [[5, 5]]
MANIFESTS = {block: block.get_manifest() for block in sam2_block.load_blocks()}


def refusal(step: dict[str, Any], output: str = "predictions") -> Any:
    definition = workflow(step, outputs={"given": f"$steps.sam.{output}"})
    with pytest.raises(WorkflowSyntaxError) as caught:
        run(definition, FakeBackend(), PHOTO)
    (error,) = caught.value.blocks_errors
    return error


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("treshold", "threshold"),
        ("Threshold", "threshold"),
        ("multi_mask_output", "multimask_output"),
        ("multimask-output", "multimask_output"),
        ("classes_filter", "class_filter"),
        ("model_version", "version"),
        ("invalidBoxes", "invalid_boxes"),
        ("apiKey", "api_key"),
        ("point", "points"),
    ],
)
def test_misspelt_field_of_segment(name: str, meant: str) -> None:
    error = refusal(segment(points=POINT, **{name: "k3y"}))
    assert (error.block_id, error.property_name) == ("sam", name)
    assert error.property_details == f"there is no field `{name}`; did you mean `{meant}`?"


def test_prompts_under_a_misspelt_name_are_named_before_they_are_missed() -> None:
    error = refusal(segment(boxs="$steps.detector.predictions"))
    assert error.property_details == "there is no field `boxs`; did you mean `boxes`?"


def test_misspelt_field_of_embed() -> None:
    step = {"type": "sam2_block/embed@v1", "name": "sam", "images": "$inputs.image", "verison": "x"}
    assert refusal(step, "image").property_details.endswith("did you mean `version`?")


@pytest.mark.parametrize("name", ["qqq", "a{b}", "x" * 10_000, "__init__", ""])
def test_field_like_no_other(name: str) -> None:
    error = refusal(segment(points=POINT, **{name: "k3y"}))
    assert "; expected one of type, name, images, boxes, points, version" in error.property_details
    assert "k3y" not in error.property_details
    assert len(error.property_details) < 400


def test_every_field_of_the_engines_own_block_is_accepted(fake_backend: FakeBackend) -> None:
    """Replacing the type is all that it takes."""
    fields = {
        name: field.examples[0] if field.examples else field.default
        for name, field in BlockManifest.model_fields.items()
        if name not in ("type", "name", "images", "boxes")
    }
    fields["version"] = "hiera_tiny"
    for images in ("images", "image"):
        step = {**segment(points=POINT, **fields), images: "$inputs.image"}
        if images == "image":
            del step["images"]
        assert len(run(workflow(step), fake_backend, PHOTO)[0]["predictions"]) == 1


@pytest.mark.parametrize("manifest", MANIFESTS.values())
def test_schema_permits_no_other_field(manifest: Any) -> None:
    assert manifest.model_json_schema()["additionalProperties"] is False


@pytest.mark.parametrize("manifest", MANIFESTS.values())
def test_fields_are_not_so_alike_that_one_is_taken_for_another(manifest: Any) -> None:
    names = set(manifest.model_fields)
    for name in names - {"images", "image"}:
        near = difflib.get_close_matches(name[:-1], names, n=1)
        assert near in ([name], [])
