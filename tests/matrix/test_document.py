"""`composition.md` says what the cells say, for the versions that it names.

With another release of the engine the cells are tested all the same (`test_cells.py`), and what
differs from the file is only told: a release with a new block would otherwise make every test run
fail on the day it comes out.
"""

from __future__ import annotations

import re
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import pytest

from tests.matrix import document
from tests.matrix.blocks import cells
from tests.matrix.outcomes import outcome_of

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "composition"
PAGE = ROOT / "docs" / "composition.md"
SAMPLE = Path(__file__).with_name("test_untyped_fields.py")


@pytest.fixture(scope="module")
def script() -> ModuleType:
    loader = SourceFileLoader("composition", str(SCRIPT))
    module = module_from_spec(spec_from_loader("composition", loader))
    loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def text() -> str:
    missing = [outcome.missing for outcome in map(outcome_of, cells()) if outcome.missing]
    if missing:
        pytest.skip(missing[0])
    return document.render()


def test_document_is_that_of_the_cells(script: ModuleType, text: str) -> None:
    found = script.differences(text)
    if found and not document.is_of_installed_versions():
        pytest.skip(f"composition.md is not of {document.versions()}:\n{found}")
    assert not found, f"the matrix has changed; if meant, run scripts/composition\n{found}"


def test_document_names_every_cell(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(document, "FILE", tmp_path / "composition.md")
    document.FILE.write_text(text)
    assert document.is_of_installed_versions()
    assert document.documented() == set(cells())


def test_check_tells_written_from_outdated(
    script: ModuleType,
    text: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "composition.md"
    monkeypatch.setattr(document, "FILE", file)
    monkeypatch.setattr(document, "render", lambda: text)
    monkeypatch.setattr(script.logging, "disable", lambda level: None)
    assert script.main(["--check"]) == 1
    assert not file.exists()
    assert script.main([]) == 0
    assert script.main(["--check"]) == 0

    file.write_text(text.replace("| `mask_visualization@v1` |", "| `mosk_visualization@v1` |", 1))
    capsys.readouterr()
    assert script.main(["--check"]) == 1
    said = capsys.readouterr().out
    assert "-| `mosk_visualization@v1` |" in said
    assert said.endswith("run scripts/composition\n")


def test_page_names_blocks_that_are_tested() -> None:
    page, *tested = (
        set(re.findall(r"\w+@v\d+", file.read_text())) for file in (PAGE, document.FILE, SAMPLE)
    )
    assert page
    assert page <= set.union(*tested)


@pytest.mark.parametrize("file", [PAGE, document.FILE], ids=["page", "table"])
def test_links_lead_somewhere(file: Path) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", file.read_text())
    assert targets
    assert [target for target in targets if not (file.parent / target).exists()] == []
