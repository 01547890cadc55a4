"""What `sam2-block run` cannot do, and what it says then."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sam2_block.cli import engine, main
from tests.cli.conftest import segment, workflow

Write = Callable[..., str]
Capture = pytest.CaptureFixture[str]

NO_INPUT = {**workflow(segment()), "inputs": []}
TWO_INPUTS = workflow(segment(), inputs=[{"type": "InferenceImage", "name": "other"}])
PYTHON_BLOCK = {
    "type": "DynamicBlockDefinition",
    "manifest": {"type": "ManifestDescription", "block_type": "Broken", "inputs": {}},
    "code": {"type": "PythonCode", "run_function_code": "def run(self:\n    return {}"},
}


@pytest.mark.parametrize(
    ("definition", "says"),
    [
        # The workflow file.
        (None, ["cannot be read (No such file or directory)"]),
        ([], ["expected a workflow definition", "got list"]),
        ({}, ["expected a workflow definition", "no list `inputs`"]),
        (NO_INPUT, ["the workflow has no image input"]),
        (TWO_INPUTS, ["the workflow has 2 image inputs (image, other)"]),
        (
            workflow(segment(), inputs=[{"type": "WorkflowBatchInput", "name": "x", "kind": 5}]),
            ["does not compile", "kind: Input should be a valid list"],
        ),
        # What the engine says of its steps, and where.
        (
            workflow(segment(points=None)),
            ["does not compile", "\n  step 'sam' (sam2_block/segment@v1): nothing to segment"],
        ),
        (
            workflow(segment(version="huge")),
            [
                "\n  step 'sam' (sam2_block/segment@v1), version: should be a selector",
                "\n  step 'sam' (sam2_block/segment@v1), version: Input should be 'demo'",
            ],
        ),
        (
            workflow(segment(type="sam2_block/segments@v1")),
            ["no type 'sam2_block/segments@v1' here; did you mean sam2_block/segment@v1"],
        ),
        (
            workflow(segment(boxes="$steps.nothing.predictions")),
            ["\n  step 'sam' (sam2_block/segment@v1), boxes: Invalid reference to $steps.nothing"],
        ),
        (workflow(segment(), segment()), ["duplicated input steps names"]),
        ({**workflow(segment()), "version": "9.0"}, ["requested Execution Engine in version"]),
        ({**workflow(segment()), "outputs": 5}, ["\n  outputs: Input should be a valid list"]),
        (
            {**workflow(segment()), "dynamic_blocks_definitions": [PYTHON_BLOCK]},
            ["SyntaxError: '(' was never closed", "\n  in the Python block 'Broken', line 1"],
        ),
    ],
)
def test_a_workflow_that_cannot_run(
    definition: Any,
    says: list[str],
    workflow_file: Write,
    image_file: Write,
    tmp_path: Path,
    capsys: Capture,
) -> None:
    path = str(tmp_path / "absent.json") if definition is None else workflow_file(definition)
    assert main(["run", path, "--image", image_file(), "--output", str(tmp_path / "o")]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    for text in says:
        assert text in err
    assert "Traceback" not in err
    assert max(map(len, err.splitlines())) < 800
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--param", "pints=1"], "--param pints: the workflow has no such parameter; it has none."),
        (["--param", "image=1"], "--param image: the workflow has no such parameter"),
        (["--output", __file__], f"--output {__file__}: expected a folder; {__file__} is not one."),
    ],
)
def test_a_request_that_cannot_run(
    arguments: list[str], says: str, workflow_file: Write, image_file: Write, capsys: Capture
) -> None:
    path = workflow_file(workflow(segment()))
    assert main(["run", path, "--image", image_file(), *arguments]) == 1
    assert f"sam2-block: {says}" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [["", "--image", "a"], ["a", "--image", ""], ["a", "--image", "a", "--output", ""]],
)
def test_an_empty_path_is_not_the_current_folder(arguments: list[str], capsys: Capture) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["run", *arguments])
    assert caught.value.code == 2
    assert "expected a path; got an empty one" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            ValueError("invalid literal for int() with base 10: 'abc'"),
            "ValueError: invalid literal for int() with base 10: 'abc'); check WORKFLOWS_NUMBER.",
        ),
        (
            RuntimeError("no such thing"),
            "RuntimeError: no such thing); check its installation and its environment variables.",
        ),
    ],
)
def test_an_environment_that_the_engine_refuses(
    error: Exception,
    message: str,
    workflow_file: Write,
    image_file: Write,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
) -> None:
    """The engine parses its environment variables when it is imported."""

    def refuse() -> bool:
        raise error

    monkeypatch.setenv("WORKFLOWS_NUMBER", "abc")
    monkeypatch.setattr(engine, "_import_inference", refuse)
    assert main(["run", workflow_file(workflow(segment())), "--image", image_file()]) == 1
    last_line = capsys.readouterr().err.splitlines()[-1]
    assert last_line.startswith(f"sam2-block: the Workflows engine cannot be imported ({message}")


def test_a_file_that_is_not_json(image_file: Write, capsys: Capture) -> None:
    photo = image_file()
    assert main(["run", __file__, "--image", photo]) == 1
    assert f"{__file__}: expected a workflow definition in JSON; " in capsys.readouterr().err
    assert main(["run", photo, "--image", photo]) == 1
    assert f"{photo}: expected a workflow definition in JSON; " in capsys.readouterr().err


def test_a_parameter_that_its_step_cannot_take(
    workflow_file: Write, image_file: Write, capsys: Capture
) -> None:
    definition = workflow(
        segment(version="$inputs.version"),
        inputs=[{"type": "WorkflowParameter", "name": "version"}],
    )
    photo = image_file()
    assert main(["run", workflow_file(definition), "--image", photo, "--param", "version=xl"]) == 1
    (line,) = (line for line in capsys.readouterr().err.splitlines() if "failed: /" in line)
    assert "step sam regarding property version" in line
    assert line.endswith("'sam2.1_hiera_b_plus' or 'sam2.1_hiera_large'")


ROBOFLOW_MODEL = {
    "type": "roboflow_core/roboflow_object_detection_model@v2",
    "name": "model",
    "images": "$inputs.image",
    "model_id": "yolov8n-640",
}


def test_a_roboflow_model_without_inference(
    workflow_file: Write, image_file: Write, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "inference" else find_spec(name, *rest),
    )
    path = workflow_file(workflow(ROBOFLOW_MODEL, outputs=[]))
    assert main(["run", path, "--image", image_file()]) == 1
    assert "pip install 'sam2-block[inference]'" in capsys.readouterr().err
