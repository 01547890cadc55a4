"""The encodings and the wrappings of a workflow definition."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sam2_block.cli.workflow_file import WorkflowFile
from sam2_block.errors import InputError
from tests.cli.conftest import segment, workflow

BARE = {**workflow(segment()), "description": "Größe"}


@pytest.mark.parametrize(
    "encoding",
    ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"],
)
def test_encodings(encoding: str, tmp_path: Path) -> None:
    """Notepad and PowerShell write byte order marks, and UTF-16; `utf-16-le` has no mark."""
    path = tmp_path / "workflow.json"
    path.write_bytes(json.dumps(BARE, ensure_ascii=False).encode(encoding))
    workflow_file = WorkflowFile.read(path)
    assert workflow_file.definition == BARE
    assert workflow_file.inside == ()


def test_utf_16_of_the_other_byte_order(tmp_path: Path) -> None:
    path = tmp_path / "workflow.json"
    path.write_bytes(b"\xfe\xff" + json.dumps(BARE).encode("utf-16-be"))
    assert WorkflowFile.read(path).definition == BARE


@pytest.mark.parametrize(
    ("content", "inside"),
    [
        (BARE, ()),
        ({**BARE, "specification": {"inputs": []}}, ()),
        ({"specification": BARE}, ("specification",)),
        ({"id": "x", "specification": json.dumps(BARE)}, ("specification",)),
        ({"config": {"specification": BARE}}, ("config", "specification")),
        # As the API returns it.
        (
            {"workflow": {"name": "x", "config": json.dumps({"specification": BARE})}},
            ("workflow", "config", "specification"),
        ),
        ({"workflow": BARE}, ("workflow",)),
    ],
)
def test_a_definition_some_levels_deeper(
    content: Any, inside: tuple[str, ...], tmp_path: Path
) -> None:
    path = tmp_path / "workflow.json"
    path.write_text(json.dumps(content))
    read = WorkflowFile.read(path)
    assert read.inside == inside
    assert {key: read.definition[key] for key in BARE} == BARE


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "expected a workflow definition in JSON; "),
        ('{"ä": 1}'.encode("latin-1"), "it is not text in UTF-8 or UTF-16."),
        (b"[" * 100_000, "expected a workflow definition in JSON; "),
        (b'{"specification": "text"}', "expected a workflow definition in JSON; "),
        (b'{"specification": "[]"}', "inputs, steps and outputs; got list"),
    ],
)
def test_what_is_no_definition(content: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "workflow.json"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        WorkflowFile.read(path)
    assert says in str(caught.value)
