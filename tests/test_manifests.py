"""`manifests/` says what the blocks promise, and changes only with a reviewed change of them."""

from __future__ import annotations

import json
import re
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    path = str(ROOT / "scripts" / "manifests")
    module = module_from_spec(spec_from_loader("manifests", SourceFileLoader("manifests", path)))
    module.__spec__.loader.exec_module(module)
    return module


@pytest.fixture
def folder(script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in the place of `manifests/`."""
    monkeypatch.setattr(script, "FOLDER", tmp_path / "manifests")
    return script.FOLDER


def test_manifests_are_those_of_the_code(script: ModuleType) -> None:
    found = script.differences(script.render())
    assert not found, f"the manifests have changed; if meant, run scripts/manifests\n{found}"


def test_check_tells_written_from_outdated(
    script: ModuleType, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script.main(["--check"]) == 1
    assert not folder.exists()
    assert script.main([]) == 0
    assert script.main(["--check"]) == 0

    file = folder / "segment_v1.json"
    file.write_text(file.read_text().replace('"default": "hiera_tiny"', '"default": "demo"'))
    (folder / "gone_v1.json").write_text("{}\n")
    capsys.readouterr()
    assert script.main(["--check"]) == 1
    said = capsys.readouterr().out
    assert re.search(r'^- +"default": "demo",$\n^\+ +"default": "hiera_tiny",$', said, re.MULTILINE)
    assert "manifests/gone_v1.json" in said
    assert said.endswith("run scripts/manifests\n")

    assert script.main([]) == 0
    assert sorted(path.name for path in folder.iterdir()) == ["embed_v1.json", "segment_v1.json"]
    assert script.main(["--check"]) == 0


def test_words_of_the_engine_are_left_out(script: ModuleType) -> None:
    text = script.render()["segment_v1.json"]
    described = json.loads(text)
    assert "docs" not in text
    assert "internal_data_type" not in text
    assert "pattern" not in text
    # Ours stay, in the order of a form.
    properties = described["schema"]["properties"]
    assert properties["boxes"]["description"]
    assert properties["images"]["kind"] == ["image"]
    assert list(properties)[:5] == ["type", "name", "images", "boxes", "points"]
