"""Blocks that nobody has written anything down for are found, filled in, run and judged."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CODE = """
import json
from tests.matrix.blocks import cells
from tests.matrix.outcomes import outcome_of
new = [cell for cell in cells() if "/new_" in cell.block]
print(json.dumps({f"{cell.table}-{cell}": vars(outcome_of(cell)) for cell in new}))
"""


@pytest.fixture(scope="module")
def outcomes() -> dict[str, dict[str, object]]:
    """The outcomes of the plugin's cells, in a process whose engine has the plugin."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "WORKFLOWS_PLUGINS": "sam2_block,tests.matrix.new_blocks",
    }
    command = [sys.executable, "-W", "ignore", "-c", CODE]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, object]] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_each_connection_is_a_cell(outcomes: dict[str, dict[str, object]]) -> None:
    names = ("new_pass_on@v1", "new_lose_row@v1", "new_picky@v1")
    cells = {f"{table}-{name}-masks" for table in ("predictions", "boxes") for name in names}
    assert outcomes.keys() == cells


def test_block_is_filled_in_and_run(outcomes: dict[str, dict[str, object]]) -> None:
    behind = outcomes["predictions-new_pass_on@v1-masks"]
    assert behind["problems"] == []
    assert behind["scenes"] == {"single": "6 → 6", "empty": "0 → 0", "batch": "2 → 2; 6 → 6"}
    assert behind["masks"] == "same"
    assert behind["compact"] == "yes"
    assert behind["json"] == "5 polygons"
    front = outcomes["boxes-new_pass_on@v1-masks"]
    assert front["problems"] == []
    assert front["scenes"] == behind["scenes"]


def test_lost_row_is_a_problem(outcomes: dict[str, dict[str, object]]) -> None:
    assert "5 rows, expected 6" in str(outcomes["predictions-new_lose_row@v1-masks"]["problems"])
    assert "5 rows, expected 6" in str(outcomes["boxes-new_lose_row@v1-masks"]["problems"])


def test_field_without_a_value_is_a_problem(outcomes: dict[str, dict[str, object]]) -> None:
    said = str(outcomes["predictions-new_picky@v1-masks"]["problems"])
    assert "no generic value is valid for `mode`" in said
    assert "the tables of tests/matrix" in said
