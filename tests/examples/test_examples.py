"""Every example, on the real engine; with the demo checkpoint wherever it segments."""

from __future__ import annotations

import json
import re
import runpy
import shlex
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import skimage.data
from pycocotools import mask as coco_mask
from roboflow_workflows.execution_engine.core import ExecutionEngine

from sam2_block.backends.fake import FakeBackend
from sam2_block.backends.local import local_backend
from sam2_block.backends.local.local_backend import shared_backend
from sam2_block.cli import main, make_parser
from sam2_block.settings import Settings
from tests.examples.conftest import EXAMPLES, PROGRAMS, best_ious, needs_demo_weights, read_example

WORKFLOWS = sorted(path.name for path in EXAMPLES.glob("*.json"))
README = (PROGRAMS / "README.md").read_text()
COMMANDS = re.findall(
    r"`((?:sam2-block|python) [^`]*)`|^    (sam2-block .*)$", README, re.MULTILINE
)


def run(name: str, image: np.ndarray, backend: Any = None, **parameters: Any) -> dict[str, Any]:
    """Run an example.

    With another backend than that of the initializers, the step takes it as a parameter; the
    engine takes such a parameter over the initializer even where it has cached the definition.
    """
    init_parameters = {} if backend is None else {"sam2_block.backend": backend}
    engine = ExecutionEngine.init(read_example(name), init_parameters=init_parameters)
    (result,) = engine.run(runtime_parameters={"image": [image], **parameters})
    outputs: dict[str, Any] = result
    return outputs


@pytest.mark.parametrize("name", WORKFLOWS)
def test_compiles(name: str) -> None:
    definition = read_example(name)
    assert list(definition)[:2] == ["version", "inputs"]
    # The one parameter that the engine itself does not have; nothing is run.
    ExecutionEngine.init(definition, init_parameters={"workflows_core.model_manager": object()})
    (version,) = (one for one in definition["inputs"] if one["name"] == "version")
    # No endpoint offers the built-in model.
    assert version["default_value"] == ("hiera_tiny" if "remote" in name else "demo")
    segments = [s for s in definition["steps"] if s["type"] == "sam2_block/segment@v1"]
    assert segments
    assert {step["version"] for step in segments} == {"$inputs.version"}


def test_the_detector_finds_the_coins(coins: np.ndarray, true_coins: np.ndarray) -> None:
    """The fake model fills each box, so that its masks are the boxes."""
    rows = run("detect_then_segment.json", coins, FakeBackend())["predictions"]
    assert len(rows) == 24
    assert set(rows["class_name"]) == {"coin"}
    true_boxes = np.zeros_like(true_coins)
    for box, mask in zip(true_boxes, true_coins, strict=True):
        ys, xs = np.nonzero(mask)
        box[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1] = True
    ious = best_ious(true_boxes, rows.mask)
    assert ious.mean() > 0.93  # OpenCV 4.10 finds the circles a little larger
    assert ious.min() > 0.9


@pytest.mark.parametrize("shape", [(1, 1, 3), (40, 300, 3), (303, 384, 3)])
def test_the_detector_finds_nothing_where_nothing_is(shape: tuple[int, ...]) -> None:
    outputs = run("detect_then_segment.json", np.zeros(shape, np.uint8), FakeBackend())
    assert len(outputs["predictions"]) == 0
    assert outputs["scores"] == []


@needs_demo_weights
def test_demo(tmp_path: Path, true_coins: np.ndarray, capsys: pytest.CaptureFixture[str]) -> None:
    """The example by its name on its photo: the table, the PNG and the JSON come out."""
    photo = str(EXAMPLES / "coins.png")
    assert main(["run", "detect_then_segment", photo, "--output", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "predictions: 24 detections" in out
    assert len(re.findall(r"^ +\d+  coin ", out, re.MULTILINE)) == 24

    before, after = cv2.imread(photo), cv2.imread(str(tmp_path / "coins_annotated.png"))
    assert after.shape == before.shape == (303, 384, 3)
    is_coin = true_coins.any(axis=0)
    changed = (before != after).any(axis=2)
    assert changed[is_coin].mean() > 0.9
    assert changed[~is_coin].mean() < 0.1

    outputs = json.loads((tmp_path / "coins.json").read_text())["outputs"]
    rows = outputs["predictions"]["predictions"]
    masks = np.array([coco_mask.decode(row["rle_mask"]) for row in rows], dtype=bool)
    assert masks.shape == (24, 303, 384)
    assert best_ious(true_coins, masks).mean() > 0.85  # filling the boxes gives 0.78
    assert len(outputs["scores"]) == 24
    assert outputs["annotated"] == "coins_annotated.png"


@needs_demo_weights
@pytest.mark.parametrize(("pixels_per_unit", "min_area"), [(1.0, 2000.0), (2.0, 0.0), (2.0, 500.0)])
def test_area_is_measured(coins: np.ndarray, pixels_per_unit: float, min_area: float) -> None:
    parameters = {"pixels_per_unit": pixels_per_unit, "min_area": min_area}
    outputs = run("segment_then_measure_area.json", coins, **parameters)
    rows = outputs["predictions"]
    of_masks = rows.mask.sum(axis=(1, 2)) / pixels_per_unit**2
    assert outputs["areas"] == of_masks.tolist()
    assert of_masks.min() >= min_area
    assert len(rows) == 24 if min_area == 0 else 3 <= len(rows) <= 8
    assert (outputs["annotated"].numpy_image != coins).any()


@needs_demo_weights
def test_class_of_a_crop_comes_back_to_its_mask(coins: np.ndarray) -> None:
    outputs = run("segment_then_crop_then_classify.json", coins)
    rows, classes = outputs["predictions"], outputs["classes"]
    assert len(rows) == len(classes) == 24
    np.testing.assert_array_equal(
        rows.mask, run("detect_then_segment.json", coins)["predictions"].mask
    )
    assert rows["class_name"].tolist() == [one["top"] for one in classes]
    for mask, box, one in zip(rows.mask, rows.xyxy.astype(int), classes, strict=True):
        left, top, right, bottom = box  # the last pixel; the engine crops up to it
        assert one["image"] == {"width": right - left, "height": bottom - top}
        crop = np.s_[top:bottom, left:right]
        brightness = coins[crop][mask[crop]].mean()
        assert one["top"] == ("bright" if brightness > 155 else "dark")
    assert set(rows["class_name"]) == {"bright", "dark"}
    assert (outputs["annotated"].numpy_image != coins).any()


@pytest.mark.parametrize(
    "name", ["segment_then_measure_area.json", "segment_then_crop_then_classify.json"]
)
def test_photo_of_nothing_goes_through(name: str) -> None:
    photo = np.zeros((303, 384, 3), np.uint8)
    outputs = run(name, photo, FakeBackend())
    assert len(outputs["predictions"]) == 0
    assert outputs["areas" if "area" in name else "classes"] == []
    assert (outputs["annotated"].numpy_image == photo).all()


@needs_demo_weights
@pytest.mark.parametrize(
    "clicks",
    [
        None,  # the default
        [{"x": 347, "y": 186, "positive": True}, {"x": 347, "y": 230, "positive": False}],
        [(347, 186), (347, 230, False)],
        [{"x": 347, "y": 186}],
    ],
)
def test_clicks_give_one_mask(coins: np.ndarray, true_coins: np.ndarray, clicks: Any) -> None:
    outputs = run("clicks_to_mask.json", coins, **({"clicks": clicks} if clicks else {}))
    rows = outputs["predictions"]
    assert len(rows) == 1
    assert rows.mask[0, 186, 347]
    assert not rows.mask[0, 230, 347]
    assert best_ious(rows.mask, true_coins)[0] > 0.8
    assert (outputs["annotated"].numpy_image != coins).any()


@needs_demo_weights
def test_points_only(coins: np.ndarray) -> None:
    outputs = run("points_only.json", coins)
    rows = outputs["predictions"]
    points = read_example("points_only.json")["inputs"][1]["default_value"]
    assert set(rows["class_name"]) == {"foreground"}
    assert outputs["annotated"].numpy_image.shape == (303, 384, 3)
    assert len(rows) == len(points) == 3
    for mask, object_points in zip(rows.mask, points, strict=True):
        assert all(mask[y, x] for x, y in object_points)
        assert 200 < mask.sum() < 20_000  # a coin or some; not a speck, and not the photo


@needs_demo_weights
def test_two_steps_encode_the_image_once(
    coins: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = []
    encode = local_backend.encode
    monkeypatch.setattr(
        local_backend, "encode", lambda *args: encoded.append(args[2]) or encode(*args)
    )
    shared_backend(Settings.from_environment().local).embeddings.clear()
    outputs = run("two_steps_one_image.json", coins)
    assert len(encoded) == 1
    by_point, by_box = outputs["by_point"], outputs["by_box"]
    assert len(by_point) == len(by_box) == 3
    assert by_box["prompt_detection_id"].tolist() == by_point["detection_id"].tolist()
    assert (outputs["by_box_shown"].numpy_image != coins).any()


@needs_demo_weights
def test_engine_script(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(PROGRAMS / "engine_script.py"))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 24
    for line in lines:
        assert re.fullmatch(r"coin: box \[(\d+, ){3}\d+\], \d+ px, score 0\.\d\d", line)


@needs_demo_weights
def test_library_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(PROGRAMS / "library_script.py"))
    lines = capsys.readouterr().out.splitlines()
    assert 3000 < int(lines[0].split()[0]) < 7000
    picture = cv2.imread(str(tmp_path / "output" / "library_script.png"))
    changed = (picture != cv2.imread(str(EXAMPLES / "rocket.jpg"))).any(axis=2)
    assert picture.shape == (427, 640, 3)
    assert changed[250, 322]  # the rocket
    assert not changed[250, 250]  # the sky


def test_the_photos_are_those_of_scikit_image() -> None:
    assert (cv2.imread(str(EXAMPLES / "coins.png"), 0) == skimage.data.coins()).all()
    portrait = cv2.imread(str(EXAMPLES / "portrait.jpg"))[..., ::-1].astype(int)
    assert np.abs(portrait - skimage.data.astronaut()).mean() < 3  # JPEG


def test_the_readme_lists_every_example() -> None:
    listed = re.findall(r"^\| `([^`]+)` \|", README, re.MULTILINE)
    files = {path.stem for path in EXAMPLES.glob("*.json")}
    files |= {path.name for path in PROGRAMS.glob("*.py")}
    assert len(listed) == len(set(listed))
    assert set(listed) == files


@pytest.mark.parametrize("command", [a or b for a, b in COMMANDS])
def test_the_readme_commands_parse(command: str) -> None:
    program, *arguments = shlex.split(command)
    if program == "sam2-block":
        parsed = make_parser().parse_args(arguments)
        if arguments[0] == "run":
            definition = read_example(f"{parsed.workflow.name}.json")
            names = {one["name"] for one in definition["inputs"]}
            assert {name for name, _ in parsed.param} <= names
            assert all((EXAMPLES / path).is_file() for path in parsed.paths)
    else:
        assert (PROGRAMS.parent / arguments[0]).is_file()
