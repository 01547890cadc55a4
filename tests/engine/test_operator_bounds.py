"""What the engine closes, and which versions the operator of a server allows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from roboflow_workflows.errors import RuntimeInputError
from roboflow_workflows.execution_engine.core import ExecutionEngine

from sam2_block.backends.fake import FakeBackend
from sam2_block.backends.local.models import model_registry
from sam2_block.backends.remote.http.client import HttpClient
from tests.engine.workflows import parameter, scene, segment, workflow

IMAGE = scene(60, 80, (10, 8, 30, 20))
POINTS = [[20, 15]]
EMBED = {
    "type": "sam2_block/embed@v1",
    "name": "sam",
    "images": "$inputs.image",
    "version": "demo",
}


def engine(*steps: dict[str, Any], **parameters: Any) -> Any:
    inputs = [parameter("version")] if "$inputs.version" in str(steps) else []
    outputs = {"out": f"$steps.{steps[-1]['name']}.*"}
    return ExecutionEngine.init(
        workflow(*steps, inputs=inputs, outputs=outputs),
        init_parameters={f"sam2_block.{name}": value for name, value in parameters.items()},
    )


@pytest.mark.parametrize("step", [segment(points=POINTS), EMBED], ids=["segment", "embed"])
def test_close_reaches_the_step(step: dict[str, Any]) -> None:
    running = engine(step, backend=FakeBackend())
    running.run({"image": IMAGE})
    running.close()
    running.close()
    with pytest.raises(RuntimeInputError, match="the engine of this step is closed; compile"):
        running.run({"image": IMAGE})


def test_close_frees_nothing_that_the_next_request_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server makes an engine for every request, and closes it behind the answer."""
    loads: list[Any] = []
    load = model_registry.load_model
    monkeypatch.setattr(
        model_registry, "load_model", lambda *args: (loads.append(args), load(*args))[1]
    )
    model_registry.MODELS.unload()
    for _ in range(2):
        running = engine(segment(points=POINTS), device="cpu")
        running.run({"image": IMAGE})
        running.close()
    assert len(loads) == 1


def test_close_of_one_engine_leaves_another_at_work() -> None:
    first, second = (engine(segment(points=POINTS), device="cpu") for _ in range(2))
    first.run({"image": IMAGE})
    first.close()
    (result,) = second.run({"image": IMAGE})
    assert len(result["out"]["predictions"]) == 1


@pytest.mark.parametrize("execution_mode", ["local", "remote"])
@pytest.mark.parametrize("version", ["hiera_large", "$inputs.version"], ids=["literal", "selector"])
@pytest.mark.parametrize("step", [segment(points=POINTS), EMBED], ids=["segment", "embed"])
def test_a_version_that_is_not_allowed_is_refused_before_anything_is_fetched(
    step: dict[str, Any], version: str, execution_mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("fetched or sent")

    monkeypatch.setattr(model_registry, "fetch_checkpoint", refuse)
    monkeypatch.setattr(HttpClient, "post", refuse)
    running = engine(
        {**step, "version": version, "execution_mode": execution_mode},
        allowed_versions=("demo", "hiera_tiny"),
    )
    values = {"version": "hiera_large"} if version.startswith("$") else {}
    with pytest.raises(RuntimeInputError) as caught:
        running.run({"image": IMAGE, **values})
    assert caught.value.public_message == (
        "version: the operator allows demo, hiera_tiny here (SAM2_BLOCK_ALLOWED_VERSIONS); got"
        " 'hiera_large'."
    )


def test_an_allowed_version_runs() -> None:
    running = engine(
        segment(points=POINTS), backend=FakeBackend(), allowed_versions=("demo", "hiera_tiny")
    )
    (result,) = running.run({"image": IMAGE})
    assert np.asarray(result["out"]["predictions"].mask).any()
