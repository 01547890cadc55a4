"""Each bad value in the definition of a workflow, and what its author is told."""

from __future__ import annotations

from typing import Any

import pytest
from roboflow_workflows.errors import ReferenceTypeError, WorkflowSyntaxError

from sam2_block.backends.fake import FakeBackend
from tests.engine.workflows import DETECTED, detect, run, scene, segment, workflow

PHOTO = scene(60, 80)
POINT = [[5, 5]]


@pytest.mark.parametrize(
    ("fields", "property_name", "says"),
    [
        # Nothing is asked: SAM 2 would invent an object.
        (
            {},
            None,
            "nothing to segment: connect `boxes` to the predictions of a detection model, for"
            " example $steps.model.predictions, or give `points`.",
        ),
        ({"boxes": None, "points": None}, None, "nothing to segment"),
        # Literal points are read when the workflow is compiled.
        (
            {"points": [[1, 2, True, 4]]},
            None,
            "points: object 0, point 0: expected {x, y, positive} or (x, y[, positive]);"
            " got [1, 2, True, 4].",
        ),
        ({"points": [[[1, 2]], []]}, None, "points: object 1: expected at least one point."),
        (
            {"points": [{"x": 1}]},
            None,
            "expected x, y and positive, and nothing more; got {'x': 1}",
        ),
        ({"points": [[1, "a"]]}, None, "expected y to be a finite number; got 'a'."),
        ({"points": [[1, "$inputs.y"]]}, None, "expected y to be a finite number; got '$inputs"),
        ({"points": "abc"}, "points", "expected a list of points"),
        ({"points": {"x": 5, "y": 5}}, "points", "Put a single point in a list"),
        ({"points": POINT, "threshold": 1.5}, "threshold", "expected 0 to 1; got 1.5."),
        ({"points": POINT, "threshold": -0.1}, "threshold", "expected 0 to 1; got -0.1."),
        # Pydantic would read these as numbers and truth values, and `run` would not.
        ({"points": POINT, "threshold": True}, "threshold", "from 0 to 1; got True."),
        ({"points": POINT, "threshold": "0.5"}, "threshold", "from 0 to 1; got '0.5'."),
        ({"points": POINT, "multimask_output": "yes"}, "multimask_output", "true or false; got"),
        (
            {"points": POINT, "confidence_source": "both"},
            "confidence_source",
            "'detector' or 'sam'",
        ),
        ({"points": POINT, "invalid_boxes": "skip"}, "invalid_boxes", "'empty', 'error' or 'drop'"),
        # These choose what comes out, so that they are the author's and not the caller's.
        (
            {"points": POINT, "invalid_boxes": "$inputs.x"},
            "invalid_boxes",
            "'empty', 'error' or 'drop'",
        ),
        ({"points": POINT, "version": "huge"}, "version", "'hiera_tiny'"),
        ({"points": POINT, "version": "/tmp/a.pt"}, "version", "'hiera_tiny'"),
        ({"points": POINT, "class_filter": "coin"}, "class_filter", "a list of class names; got"),
        ({"points": POINT, "class_filter": [3]}, "class_filter", "of class names; got [3]"),
        # The author expects these to do something.
        (
            {"points": POINT, "class_filter": "$inputs.classes"},
            "class_filter",
            "`class_filter` has no effect without `boxes`: connect `boxes`, or leave"
            " `class_filter` out.",
        ),
        (
            {"points": POINT, "execution_mode": "local", "api_url": "http://localhost:9001"},
            "api_url",
            "`api_url` has no effect where `execution_mode` is `local`: choose `auto` or `remote`,"
            " or leave `api_url` out.",
        ),
    ],
)
def test_refused_when_compiled(
    fields: dict[str, Any], property_name: str | None, says: str, fake_backend: FakeBackend
) -> None:
    with pytest.raises(WorkflowSyntaxError) as caught:
        run(workflow(segment(**fields)), fake_backend, PHOTO)
    (error,) = caught.value.blocks_errors
    assert (error.block_id, error.block_type) == ("sam", "sam2_block/segment@v1")
    assert error.property_name == property_name
    assert says in error.property_details


@pytest.mark.parametrize("field", ["boxes", "points", "version", "class_filter"])
def test_selector_of_another_kind_is_refused_when_compiled(
    field: str, fake_backend: FakeBackend
) -> None:
    fields = {"boxes": DETECTED, "points": POINT, field: "$inputs.image"}
    with pytest.raises(ReferenceTypeError, match=rf"property: {field} with value: \$inputs.image"):
        run(workflow(detect(), segment(**fields)), fake_backend, PHOTO)
