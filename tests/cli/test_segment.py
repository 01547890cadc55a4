"""`sam2-block segment`: masks of boxes and points on photos, with the demo model."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco

from sam2_block import Segmenter
from sam2_block.cli import main
from tests.conftest import COIN_BOXES_XYXY

BOXES = [",".join(map(str, box)) for box in COIN_BOXES_XYXY[:2]]


@pytest.fixture
def photo(tmp_path: Path, coins: np.ndarray) -> Path:
    path = tmp_path / "coins.png"
    cv2.imwrite(str(path), coins)
    return path


@pytest.fixture
def run(tmp_path: Path, photo: Path) -> Callable[..., tuple[int, Path]]:
    """Run the command on the photo with the demo model; return its status and the results."""
    output = tmp_path / "results"

    def run(*arguments: Any) -> tuple[int, Path]:
        options = ["--version", "demo", "--output", output]
        return main(["segment", str(photo), *map(str, [*arguments, *options])]), output

    return run


def masks_in(path: Path) -> np.ndarray:
    rows = json.loads(path.read_text())["predictions"]
    return np.array([coco.decode(row["rle_mask"]) for row in rows], dtype=bool)


def test_boxes_and_points(run: Callable[..., tuple[int, Path]], coins: np.ndarray) -> None:
    status, output = run("--box", BOXES[0], "--box", BOXES[1], "--point", "216,52", "--not", "5,5")
    assert status == 0
    import supervision as sv

    boxes = sv.Detections(xyxy=np.array(COIN_BOXES_XYXY[:2], dtype=np.float32))
    points = [(216, 52, True), (5, 5, False)]
    expected = Segmenter("demo").segment(coins, boxes, points)
    np.testing.assert_array_equal(masks_in(output / "coins.json"), expected.mask)
    rows = json.loads((output / "coins.json").read_text())["predictions"]
    assert [row["class"] for row in rows] == ["object", "object", "foreground"]
    np.testing.assert_allclose(
        [row["sam2_score"] for row in rows], expected.data["sam2_score"], rtol=1e-6
    )


def test_picture_has_boxes_on_the_left_and_masks_on_the_right(
    run: Callable[..., tuple[int, Path]], coins: np.ndarray
) -> None:
    run("--box", BOXES[0])
    pair = cv2.imread(str(run("--box", BOXES[0])[1] / "coins_masks.png"))
    scale = pair.shape[0] / coins.shape[0]
    plain = cv2.resize(coins, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    left, right = pair[:, : plain.shape[1]], pair[:, -plain.shape[1] :]
    y, x = round((39 + 74) / 2 * scale), round((81 + 116) / 2 * scale)  # the center of the box
    assert (left[y, x] == plain[y, x]).all()
    assert (right[y, x] != plain[y, x]).any()
    assert (left[y, round(81 * scale)] != plain[y, round(81 * scale)]).any()  # its edge


FORMS: dict[str, Any] = {
    "lists": COIN_BOXES_XYXY[:2],
    "objects": [{"xyxy": COIN_BOXES_XYXY[0], "class": "coin"}, {"box": COIN_BOXES_XYXY[1]}],
    "center and size": [
        {"x": (l + r) / 2, "y": (t + b) / 2, "width": r - l, "height": b - t}
        for l, t, r, b in COIN_BOXES_XYXY[:2]  # noqa: E741
    ],
    "output of a workflow": {"predictions": {"image": {}, "predictions": COIN_BOXES_XYXY[:2]}},
    "by file name": {"other.png": [], "coins.png": COIN_BOXES_XYXY[:2]},
}


@pytest.mark.parametrize("form", FORMS)
def test_file_of_boxes(
    form: str, run: Callable[..., tuple[int, Path]], tmp_path: Path, coins: np.ndarray
) -> None:
    file = tmp_path / "boxes.json"
    file.write_text(json.dumps(FORMS[form]))
    status, output = run("--boxes", file)
    assert status == 0
    import supervision as sv

    boxes = sv.Detections(xyxy=np.array(COIN_BOXES_XYXY[:2], dtype=np.float32))
    expected = Segmenter("demo").segment(coins, boxes).mask
    np.testing.assert_array_equal(masks_in(output / "coins.json"), expected)


def test_boxes_from_stdin(
    run: Callable[..., tuple[int, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(COIN_BOXES_XYXY)))
    status, output = run("--boxes", "-")
    assert (status, len(masks_in(output / "coins.json"))) == (0, 4)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1, 2", "expected JSON"),
        ("7", "expected a list of boxes; got 7"),
        ("[[1, 2, 3]]", r"box 0: expected \[left, top, right, bottom\] in pixels"),
        ('[[1, 2, 3, "4"]]', "box 0: expected"),
        ('[{"xyxy": [1, 2, 3, 4], "class_id": "x"}]', "expected whole numbers for `class_id`"),
        ('{"other.png": []}', "has no boxes for coins.png; it has"),
    ],
)
def test_file_that_holds_no_boxes(
    content: str,
    message: str,
    run: Callable[..., tuple[int, Path]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "boxes.json"
    file.write_text(content)
    status, output = run("--boxes", file)
    assert status == 1
    assert not list(output.glob("*.png"))
    import re

    assert re.search(f"--boxes {file}: .*{message}", capsys.readouterr().err)


def test_no_prompt_names_them_and_the_size(
    run: Callable[..., tuple[int, Path]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run()[0] == 1
    error = capsys.readouterr().err
    for option in ("--box LEFT,TOP,RIGHT,BOTTOM", "--boxes FILE", "--point X,Y", "--not X,Y"):
        assert option in error
    assert "coins.png is 384 pixels wide and 303 high" in error


def test_a_box_may_begin_outside_the_photo(run: Callable[..., tuple[int, Path]]) -> None:
    status, output = run("--box", "-20,-10,116,74")
    assert status == 0
    assert masks_in(output / "coins.json").any()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--box", "1,2,3"],
        ["--box", "a,b,c,d"],
        ["--box", "30,10,20,40"],
        ["--box", "1,2,3,nan"],
        ["--point", "1"],
    ],
)
def test_malformed_coordinates(
    arguments: list[str],
    run: Callable[..., tuple[int, Path]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit, match="2"):
        run(*arguments)
    assert f"expected {'X,Y' if 'point' in arguments[0] else 'LEFT,TOP'}" in capsys.readouterr().err


def test_a_photo_that_cannot_be_read_costs_no_other(
    run: Callable[..., tuple[int, Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    status, output = run(broken, "--box", BOXES[0])
    assert status == 1
    assert (output / "coins.json").exists()
    assert f"failed: {broken}" in capsys.readouterr().err


def test_a_cause_that_is_not_the_photos_ends_the_job(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["segment", str(photo), str(photo.parent), "--box", BOXES[0]]
    output = ["--version", "hiera_large", "--output", str(tmp_path / "results")]
    assert main([*arguments, *output]) == 1
    assert capsys.readouterr().err.count("checkpoint sam2_hiera_large.pt") == 1


def test_without_weights_the_demo_model_is_taken_and_named(
    photo: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("SAM2_BLOCK_CHECKPOINT_DIR", str(tmp_path))
    output = ["--output", str(tmp_path / "results")]
    assert main(["segment", str(photo), "--box", BOXES[0], *output]) == 0
    assert "hiera_tiny are not on this machine: using version 'demo'" in capsys.readouterr().err
