"""`sam2-block` without a clone: examples, `demo`, and `run` by the name of an example."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import cv2
import pytest
from pycocotools import mask as coco

import sam2_block
from sam2_block.cli import main
from sam2_block.cli.examples import FOLDER, example_names

SUFFIXES = (".json", ".png", ".jpg")


@pytest.fixture
def demo_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo model itself, and not the fake one of this folder's other tests."""
    monkeypatch.setitem(sam2_block.REGISTERED_INITIALIZERS, "backend", lambda: None)


def test_bare_command_prints_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    out = capsys.readouterr().out
    assert "sam2-block segment photo.jpg --box 100,120,300,400" in out
    for command in ("demo", "segment", "run", "examples", "models", "check", "doctor"):
        assert f"    {command} " in out


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["examples"]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]]
    assert listed == example_names()
    assert "detect_then_segment" in listed


def test_copy_replaces_no_file_of_somebody(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "coins.png").write_bytes(b"mine")
    for _ in range(2):
        assert main(["examples", "--copy", str(tmp_path)]) == 0
    assert (tmp_path / "coins.png").read_bytes() == b"mine"
    assert f"{tmp_path / 'coins.png'}: is there and differs" in capsys.readouterr().err
    copied = {path.name for path in tmp_path.iterdir()}
    assert copied == {
        path.name for path in FOLDER.iterdir() if path.suffix in (".json", ".png", ".jpg")
    }
    assert (tmp_path / "rocket.jpg").read_bytes() == (FOLDER / "rocket.jpg").read_bytes()


@pytest.mark.parametrize("order", ["paths first", "options first", "with --image", "mixed"])
def test_an_example_runs_by_its_name(order: str, tmp_path: Path) -> None:
    photo, output = str(FOLDER / "coins.png"), ["-o", str(tmp_path)]
    arguments = {
        "paths first": ["detect_then_segment", photo, *output],
        "options first": [*output, "detect_then_segment", photo],
        "with --image": ["detect_then_segment", "--image", photo, *output],
        "mixed": ["detect_then_segment", *output, photo],
    }[order]
    assert main(["run", *arguments]) == 0
    document = json.loads((tmp_path / "coins.json").read_text())
    assert len(document["outputs"]["predictions"]["predictions"]) == 24


def test_several_images_end_with_a_summary(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    absent = tmp_path / "absent.png"
    photos = [FOLDER / "coins.png", FOLDER / "rocket.jpg", absent]
    arguments = ["detect_then_segment", *map(str, photos), "-o", str(tmp_path / "o")]
    assert main(["run", *arguments]) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert re.fullmatch(
        rf"sam2-block: 3 images, 24 masks, 1 failed, \d+:\d\d, in {re.escape(str(tmp_path / 'o'))}",
        last,
    )


def test_a_step_that_found_nothing_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo, output = str(FOLDER / "rocket.jpg"), ["-o", str(tmp_path)]
    assert main(["run", "detect_then_segment", photo, *output]) == 0
    out, err = capsys.readouterr()
    assert "predictions: 0 detections" in out
    assert "no rows, as step 'detector' (CoinDetector) found nothing\n" in err


@pytest.mark.parametrize("name", ["detect_then_segmnt", "detect_then_segmnt.json"])
def test_a_typing_error_names_the_nearest_example(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", name, "a.png"]) == 1
    assert "Did you mean the example detect_then_segment?" in capsys.readouterr().err


def test_parameter_from_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "points.json"
    file.write_text("[[[151, 60]], [[347, 186], [347, 230, false]]]")
    arguments = ["run", "points_only", str(FOLDER / "coins.png"), "-o", str(tmp_path / "o")]
    assert main([*arguments, "-p", f"points=@{file}"]) == 0
    document = json.loads((tmp_path / "o" / "coins.json").read_text())
    assert len(document["outputs"]["predictions"]["predictions"]) == 2
    for problem in ("absent.json", "bad.json"):
        (tmp_path / "bad.json").write_text("[1,")
        with pytest.raises(SystemExit, match="2"):
            main([*arguments, "-p", f"points=@{tmp_path / problem}"])
        assert "points: " in capsys.readouterr().err


def test_demo(demo_model: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "-o", str(tmp_path)]) == 0
    assert "24 coins found, 24 masks" in capsys.readouterr().out
    rows = json.loads((tmp_path / "coins.json").read_text())["predictions"]
    masks = [coco.decode(row["rle_mask"]) for row in rows]
    assert {mask.shape for mask in masks} == {(303, 384)}
    assert all(mask.any() for mask in masks)
    height, width = cv2.imread(str(tmp_path / "coins_masks.png")).shape[:2]
    assert (height, width) == (640, 1630)


def test_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    definition = json.loads((FOLDER / "points_only.json").read_text())
    definition["steps"][0]["treshold"] = 0.5
    bad = tmp_path / "bad.json"
    bad.write_text(json.dumps(definition))
    assert main(["check", "points_only"]) == 0
    assert capsys.readouterr().out == "points_only: compiles\n"
    assert main(["check", "points_only", str(bad)]) == 1
    out = capsys.readouterr().out
    assert "treshold" in out
    assert "threshold" in out
