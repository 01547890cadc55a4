"""Clicks in the forms in which web pages send them: read rightly, or refused in words that help."""

from __future__ import annotations

from typing import Any

import pytest
from roboflow_workflows.core_steps.common.deserializers import deserialize_labeled_points_kind
from roboflow_workflows.errors import RuntimeInputError

from sam2_block.backends.fake import FakeBackend
from tests.engine.workflows import batch_input, parameter, run, scene, segment, workflow

PHOTO = scene(60, 80)
CLICK, AWAY = {"x": 40, "y": 30, "positive": True}, {"x": 20, "y": 30, "positive": False}

READ: dict[str, Any] = {
    "documented": [CLICK],
    "positive left out": [{"x": 40, "y": 30}],
    "positive as 1": [{"x": 40, "y": 30, "positive": 1}],
    "sequences": [[40, 30], [20, 30, False]],
    "one list an object": [[CLICK], [AWAY, CLICK]],
}
REFUSED: dict[str, tuple[Any, str]] = {
    "label of SAM": ([{"x": 40, "y": 30, "label": 1}], "For `label` write `positive`: true for 1"),
    "with an id": ([{**CLICK, "id": 7}], "expected x, y and positive, and nothing more; got {'id'"),
    "text numbers": ([{"x": "40", "y": 30}], "expected x to be a finite number; got '40'."),
    "text truth": (
        [{**CLICK, "positive": "true"}],
        "expected positive to be true or false; got 't",
    ),
    "text untruth": ([{**CLICK, "positive": "false"}], "to be true or false; got 'false'."),
    "on the right edge": ([{"x": 80, "y": 30}], "expected absolute pixels, 0 <= x < 80"),
    "negative": ([[-1, 5]], "(-1, 5) lies outside the image (80 wide, 60 high)"),
    "JSON text": ('[{"x": 40, "y": 30}]', "parse JSON text first."),
    "one click without its list": ({"x": 40, "y": 30}, "Put a single point in a list"),
}
WAYS = {
    "all images": parameter("clicks"),
    "all images, of the engine's kind": {**parameter("clicks"), "kind": ["labeled_points"]},
    "each image": batch_input("clicks", "list_of_values"),
    "each image, of any kind": batch_input("clicks", "*"),
}


def masks(way: dict[str, Any], clicks: Any) -> list[int]:
    definition = workflow(segment(points="$inputs.clicks"), inputs=[way])
    given = [clicks] if way["type"] == "WorkflowBatchInput" else clicks
    (result,) = run(definition, FakeBackend(), PHOTO, clicks=given)
    return [int(mask.sum()) for mask in result["predictions"].mask]


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("form", READ)
def test_form_is_read(form: str, way: dict[str, Any]) -> None:
    objects = len(READ[form]) if form == "one list an object" else 1
    assert masks(way, READ[form]) == [121] * objects


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("form", REFUSED)
def test_form_is_refused_in_words_that_help(form: str, way: dict[str, Any]) -> None:
    clicks, says = REFUSED[form]
    if "list_of_values" in way.get("kind", ()) and not isinstance(clicks, list):
        says = f"invalid type of data found (`{type(clicks).__name__}`)"  # the engine's words
    with pytest.raises(RuntimeInputError) as caught:
        masks(way, clicks)
    # What the engine refuses before anything runs it explains in the error inside.
    assert says in f"{caught.value} {caught.value.inner_error}"


def test_of_its_own_kind_the_engine_reads_any_text_as_true() -> None:
    """Before this block sees it, in inputs with one value an image: the README says so.

    A deserialiser of this plugin for the engine's kind would hold for every other block, too.
    """
    read = deserialize_labeled_points_kind("clicks", [{**CLICK, "positive": "false"}])
    assert read == [CLICK]
