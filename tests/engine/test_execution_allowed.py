"""Steps that may not run where they say: refused at compile time, or at run time."""

from __future__ import annotations

from typing import Any

import pytest
from roboflow_workflows.errors import RuntimeInputError, WorkflowError

from sam2_block.blocks import block as base
from tests.engine.test_remote_fields import OPERATORS, Network, network, run, step, workflow

__all__ = ["network"]  # a fixture
LOOPBACK = {"SAM2_BLOCK_API_URL": "http://127.0.0.1:9001", "ROBOFLOW_API_KEY": OPERATORS}


def shown(error: BaseException | None) -> str:
    """Return what the engine says of an error and of those inside it."""
    texts = []
    while error is not None:
        texts.append(str(error))
        error = getattr(error, "inner_error", None) or error.__cause__
    return "\n".join(texts)


def test_remote_step_is_refused_when_the_workflow_is_compiled(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAM2_BLOCK_EXECUTION", "local")
    # The engine caches what it has compiled: this definition is no other test's.
    definition = workflow(step(name="sam", threshold=0.125))
    with pytest.raises(WorkflowError) as caught:
        run(definition, LOOPBACK)
    assert not isinstance(caught.value, RuntimeInputError)
    assert "allows local execution only (SAM2_BLOCK_EXECUTION); got remote" in shown(caught.value)
    assert network.asked == []


def test_local_step_is_refused_when_the_workflow_is_compiled(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAM2_BLOCK_EXECUTION", "remote")
    with pytest.raises(WorkflowError) as caught:
        run(workflow(step(execution_mode="local", version="demo")))
    assert "allows remote execution only (SAM2_BLOCK_EXECUTION); got local" in shown(caught.value)


@pytest.mark.parametrize(("allowed", "mode"), [("local", "remote"), ("remote", "local")])
def test_step_is_the_callers_error_when_it_is_run(
    allowed: str, mode: str, network: Network
) -> None:
    """By settings that the host of the engine gives, and not by the environment."""
    definition = workflow(step(execution_mode=mode, version="hiera_tiny"))
    with pytest.raises(RuntimeInputError, match=f"allows {allowed} execution only"):
        run(definition, {**LOOPBACK, "SAM2_BLOCK_EXECUTION": allowed})
    assert network.asked == []


@pytest.mark.parametrize("url", ["http://127.0.0.1:9001", "https://serverless.roboflow.com"])
def test_nothing_leaves_an_offline_process(
    url: str, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in the engine's own blocks: not to a server on the same machine either."""
    monkeypatch.setenv("OFFLINE_MODE", "True")
    environment = {"SAM2_BLOCK_API_URL": url, "ROBOFLOW_API_KEY": OPERATORS}
    with pytest.raises(RuntimeInputError, match="not available while OFFLINE_MODE is enabled"):
        run(workflow(step()), environment)
    assert network.asked == []


@pytest.mark.parametrize(
    ("environment", "engines", "is_remote"),
    [
        ({"SAM2_BLOCK_EXECUTION": "local"}, "remote", False),
        ({"SAM2_BLOCK_EXECUTION": "remote"}, "local", True),
        ({}, "remote", True),
    ],
)
def test_auto_takes_what_is_allowed(
    environment: dict[str, str],
    engines: str,
    is_remote: bool,
    network: Network,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(base, "WORKFLOWS_STEP_EXECUTION_MODE", engines)
    version = "hiera_tiny" if is_remote else "demo"
    fields: dict[str, Any] = {"execution_mode": "auto", "version": version}
    (result,) = run(workflow(step(**fields)), {**LOOPBACK, **environment})
    assert len(result["predictions"]) == 1
    assert bool(network.asked) is is_remote


def test_auto_stays_here_while_offline(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "WORKFLOWS_STEP_EXECUTION_MODE", "remote")
    monkeypatch.setenv("OFFLINE_MODE", "True")
    (result,) = run(workflow(step(execution_mode="auto", version="demo")), LOOPBACK)
    assert len(result["predictions"]) == 1
    assert network.asked == []


def test_setting_that_cannot_be_read_is_reported_as_such(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAM2_BLOCK_EXECUTION", "nowhere")
    with pytest.raises(Exception, match="SAM2_BLOCK_EXECUTION: expected one of any, local, remote"):
        run(workflow(step()), {"SAM2_BLOCK_EXECUTION": "nowhere"})
