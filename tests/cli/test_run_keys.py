"""`sam2-block run` shows no key, and changes no result for one."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from sam2_block.cli import main
from sam2_block.cli.console import package_warnings_shown
from tests.cli.conftest import (
    PREDICTIONS,
    output,
    segment,
    workflow,
)

Write = Callable[..., str]
Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize("variable", ["ROBOFLOW_API_KEY", "SAM2_BLOCK_API_KEY"])
def test_the_key_is_in_no_message(
    variable: str,
    workflow_file: Write,
    image_file: Write,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
) -> None:
    monkeypatch.setenv(variable, " k3y-of-the-operator ")  # spaces around it do no harm
    definition = workflow(
        segment(points="$inputs.points"),
        inputs=[{"type": "WorkflowParameter", "name": "points"}],
    )
    arguments = ["run", workflow_file(definition), "--image", image_file()]
    arguments += ["--output", str(tmp_path / "o")]
    bad_points = 'points=[[1, "k3y-of-the-operator"]]'  # the block's error quotes them
    assert main([*arguments, "--param", bad_points]) == 1
    assert "expected y to be a finite number; got '***'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "key",
    # Parts of names, of RLE, of numbers and of paths; and a word of eight letters and more.
    ["mask", "data", "a", "1", "0", "80", "counts", "PPP", "photo", "predictions", "sam2_score"],
)
def test_results_are_written_as_they_are_whatever_the_key(
    key: str,
    workflow_file: Write,
    image_file: Write,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
) -> None:
    definition = workflow(
        segment(),
        inputs=[{"type": "WorkflowParameter", "name": "note"}],
        outputs=[
            PREDICTIONS,
            output(f"{key}_note", "$inputs.note"),
            output("picture", "$inputs.image"),
        ],
    )
    arguments = ["run", workflow_file(definition), "--image", image_file("data/photo.png")]
    arguments += ["--output", str(tmp_path / "data"), "--param", f"note=by {key}, '{key}'"]

    def files() -> dict[str, bytes]:
        assert main(arguments) == 0
        # Hidden is the record of digests, which the random ids change.
        return {path.name: path.read_bytes() for path in sorted((tmp_path / "data").glob("[!.]*"))}

    def table() -> list[str]:
        return capsys.readouterr().out.splitlines()[1:]  # the first line has the time it took

    expected, printed = files(), table()
    for variable in ("ROBOFLOW_API_KEY", "SAM2_BLOCK_API_KEY"):
        monkeypatch.setenv(variable, key)
    written = files()
    assert _without_ids(written) == _without_ids(expected)
    assert table() == printed


def _without_ids(files: dict[str, bytes]) -> dict[str, bytes]:
    """Blank what is random in every run: the ids of new detections."""
    return {
        name: re.sub(rb"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", b"id", content)
        for name, content in files.items()
    }


def test_the_key_is_in_no_warning(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setenv("SAM2_BLOCK_API_KEY", "k3y-of-the-operator")
    with package_warnings_shown():
        logging.getLogger("sam2_block.any").warning("at %s", "http://x/?key=k3y-of-the-operator")
    assert capsys.readouterr().err == "sam2-block: at http://x/?key=***\n"
