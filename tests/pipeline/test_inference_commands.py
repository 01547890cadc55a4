"""The commands `inference workflows process-images-directory` and `process-video`.

They run a local definition in their own process, without a server, a key or a network, and load the
plugins that WORKFLOWS_PLUGINS names.
"""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from tests.engine.workflows import DETECTED, detect, parameter, segment, workflow
from tests.pipeline.scene import HEIGHT, HOLD, WIDTH, picture, shapes, write_video

pytest.importorskip("inference.core")
pytest.importorskip("inference_cli")
pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "sam2_block" / "examples" / "track_then_segment.json"
TWO_SHAPES, ONE_SHAPE = 5 * HOLD, HOLD  # frames
LARGER = (500, 300)  # width and height
SMALLER = (150, 100)
FRAMES = HOLD + 8

# What the script `inference` does, for one command after the other: the imports take seconds.
PROGRAM = """
import json, sys
from inference_cli.main import app
for arguments in json.loads(sys.argv[1]):
    app(["workflows", *arguments], standalone_mode=False)
"""


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run both commands, with the built-in model, and return the folder that they wrote into."""
    folder = tmp_path_factory.mktemp("commands")
    images = folder / "in"
    images.mkdir()
    cv2.imwrite(str(images / "two.png"), picture(TWO_SHAPES))
    cv2.imwrite(str(images / "larger.jpg"), cv2.resize(picture(ONE_SHAPE), LARGER))
    cv2.imwrite(str(images / "none.png"), cv2.resize(picture(0), SMALLER))
    (images / "broken.png").write_bytes(b"not an image")
    masks = {
        "type": "roboflow_core/mask_visualization@v1",
        "name": "masks",
        "image": "$inputs.image",
        "predictions": "$steps.sam.predictions",
    }
    definition = workflow(
        detect(),
        segment(boxes=DETECTED, version="$inputs.version"),
        masks,
        inputs=[parameter("version")],
        outputs={"predictions": "$steps.sam.predictions", "annotated": "$steps.masks.image"},
    )
    (folder / "workflow.json").write_text(json.dumps(definition))
    video = write_video(folder / "shapes.avi", FRAMES)
    of_video = ["process-video", "-v", video, "-o", str(folder / "video"), "-ft", "jsonl"]
    of_images = ["process-images-directory", "-i", str(images), "-o", str(folder / "images")]
    of_images += ["--processing_target", "inference_package", "--version", "demo"]
    commands = [
        [*of_video, "--workflow_spec", str(EXAMPLE)],
        [*of_images, "--workflow_spec", str(folder / "workflow.json")],
    ]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(commands)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "SAM2_BLOCK_DEVICE": "cpu", "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]
    return folder


def truths(frame: int, size: tuple[int, int] = (WIDTH, HEIGHT)) -> list[np.ndarray]:
    """Return the masks of a frame that was brought to another size, from left to right."""
    masks = [cv2.resize(mask.astype(np.uint8), size) > 0 for mask in shapes(frame).values()]
    return sorted(masks, key=lambda mask: mask.any(axis=0).argmax())


def check_rows(predictions: dict[str, Any], expected: list[np.ndarray]) -> None:
    """Compare the masks in serialised predictions with the shapes drawn."""
    rows = sorted(predictions["predictions"], key=lambda row: row["x"])
    assert len(rows) == len(expected)
    for row, truth in zip(rows, expected, strict=True):
        mask = coco_mask.decode(row["rle_mask"]).astype(bool)
        assert mask.shape == truth.shape
        assert (mask & truth).sum() > 0.93 * (mask | truth).sum()


EXPECTED = {
    "two.png": truths(TWO_SHAPES),
    "larger.jpg": truths(ONE_SHAPE, LARGER),
    "none.png": [],
}
SIZES = {"two.png": (WIDTH, HEIGHT), "larger.jpg": LARGER, "none.png": SMALLER}


@pytest.mark.parametrize("name", EXPECTED)
def test_each_image_of_a_folder_has_its_own_masks(name: str, outputs: Path) -> None:
    predictions = json.loads((outputs / "images" / name / "results.json").read_text())
    assert predictions["annotated"] == "<deducted_image>"
    check_rows(predictions["predictions"], EXPECTED[name])
    size = predictions["predictions"]["image"]
    assert (size["width"], size["height"]) == SIZES[name]


@pytest.mark.parametrize("name", EXPECTED)
def test_each_image_of_a_folder_is_painted(name: str, outputs: Path) -> None:
    before = cv2.imread(str(outputs / "in" / name)).astype(int)
    after = cv2.imread(str(outputs / "images" / name / "annotated.jpg"))
    assert after.shape == before.shape
    painted = np.abs(after - before).max(axis=2) > 40  # more than JPEG does
    expected = np.any([np.zeros(painted.shape, bool), *EXPECTED[name]], axis=0)
    assert (painted & expected).sum() >= 0.9 * (painted | expected).sum()


def test_results_of_a_folder_are_aggregated(outputs: Path) -> None:
    with (outputs / "images" / "aggregated_results.csv").open() as file:
        rows = {row["image"]: json.loads(row["predictions"]) for row in csv.DictReader(file)}
    assert set(rows) == set(EXPECTED)
    for name, predictions in rows.items():
        check_rows(predictions, EXPECTED[name])


def test_a_broken_file_among_images_is_reported_and_stops_nothing(outputs: Path) -> None:
    (report,) = (outputs / "images").glob("failed_files_processing_*.jsonl")
    (line,) = report.read_text().splitlines()
    assert Path(json.loads(line)["file_path"]).name == "broken.png"


def test_video(outputs: Path) -> None:
    lines = (outputs / "video" / "workflow_results_source_0.jsonl").read_text().splitlines()
    assert len(lines) == FRAMES
    tracks = set()
    for frame, line in enumerate(lines):
        predictions = json.loads(line)["predictions"]
        # The tracker leaves out the first frame of what it then follows.
        check_rows(predictions, truths(frame) if frame > HOLD else [])
        tracks |= {row["tracker_id"] for row in predictions["predictions"]}
    assert len(tracks) == 1
    (annotated,) = (outputs / "video").glob("*.mp4")
    video = cv2.VideoCapture(str(annotated))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == FRAMES


def documented() -> list[list[str]]:
    found = []
    for name in ("docs/video.md", "examples/README.md"):
        text = (ROOT / name).read_text()
        found += re.findall(r"(?:^|`)inference (workflows [^`\n]+)", text, flags=re.MULTILINE)
    return [shlex.split(command) for command in found]


@pytest.mark.parametrize("arguments", documented(), ids=" ".join)
def test_documented_commands_parse(arguments: list[str]) -> None:
    import typer
    from inference_cli.main import app

    group, name, *options = arguments
    command = typer.main.get_command(app).commands[group].commands[name]
    context = command.make_context(name, options)
    assert context.args == []  # what it does not know it would hand to the workflow
    assert not Path(context.params["workflow_specification_path"]).is_absolute()
