"""`sam2-block run`, with the real engine and a fake model."""

from __future__ import annotations

import errno
import gc
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import supervision as sv
from pycocotools import mask as coco_mask

from sam2_block.cli import engine, main
from sam2_block.cli.detection_tables import detection_tables
from sam2_block.errors import SettingsError
from tests.cli.conftest import (
    PREDICTIONS,
    WITH_IMAGE,
    output,
    read_json,
    segment,
    workflow,
)

Write = Callable[..., str]
Capture = pytest.CaptureFixture[str]


def test_garbage_is_collected_again_after_the_engines_import(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail() -> bool:
        assert not gc.isenabled()
        raise ValueError("a variable that the engine cannot read")

    monkeypatch.setattr(engine, "_import_inference", fail)
    with pytest.raises(SettingsError):
        engine.start_engine(WITH_IMAGE)
    assert gc.isenabled()
    assert gc.get_freeze_count() > 0
    gc.unfreeze()


def test_table_png_and_json(
    workflow_file: Write, image_file: Write, tmp_path: Path, capsys: Capture
) -> None:
    photo, folder = image_file(width=80, height=60), tmp_path / "results" / "today"
    arguments = ["run", workflow_file(WITH_IMAGE), "--image", photo, "--output", str(folder)]
    assert main(arguments) == 0
    out, err = capsys.readouterr()

    lines = out.splitlines()
    assert lines[0].startswith(photo)
    assert lines[1] == "predictions: 1 detection"
    assert lines[2].split() == (
        ["#", "class", "confidence", "sam2_score", "left", "top", "right", "bottom", "mask", "px"]
    )
    assert lines[3].split() == ["0", "foreground", "0.900", "0.900", "15", "5", "25", "15", "121"]
    assert lines[4:] == [
        f"wrote {folder / 'photo_annotated.png'}",
        f"wrote {folder / 'photo.json'}",
    ]
    assert f"[1/1] {photo}" in err

    before, after = cv2.imread(photo), cv2.imread(str(folder / "photo_annotated.png"))
    changed = (before != after).any(axis=2)
    assert after.shape == (60, 80, 3)
    # PNG is lossless: what is outside the mask is as it was, to the bit.
    assert changed[5:16, 15:26].all()
    assert changed.sum() == 121

    document = read_json(folder / "photo.json")
    assert document["image"] == photo
    assert document["outputs"]["annotated"] == "photo_annotated.png"
    assert document["outputs"]["scores"] == pytest.approx([0.9])
    predictions = document["outputs"]["predictions"]
    assert predictions["image"] == {"width": 80, "height": 60}
    (row,) = predictions["predictions"]
    mask = coco_mask.decode(row["rle_mask"]).astype(bool)
    assert row["class"] == "foreground"
    assert mask.shape == (60, 80)
    assert mask[5:16, 15:26].all()
    assert mask.sum() == 121


def test_a_bad_image_costs_its_own_results_only(
    workflow_file: Write,
    image_file: Write,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
) -> None:
    """The point of the workflow lies outside the image that is 15 pixels wide."""
    image_file("photos/a.png")
    image_file("photos/small.png", width=15)
    (tmp_path / "photos" / "text.png").write_text("no image")
    (tmp_path / "photos" / "nothing.jpg").touch()
    (tmp_path / "photos" / "notes.txt").write_text("not asked for")
    (tmp_path / "empty").mkdir()
    image_file("z.png")
    (tmp_path / "closed").mkdir()
    names = ("photos", "absent.png", "empty", "closed", "z.png", "n" * 300)
    paths = [str(tmp_path / name) for name in names]
    monkeypatch.setattr(Path, "iterdir", open_folders(Path.iterdir, tmp_path / "closed"))
    folder = tmp_path / "results"
    status = main(
        ["run", workflow_file(workflow(segment())), "--output", str(folder), "--image", *paths]
    )
    assert status == 1
    assert sorted(path.name for path in folder.glob("[!.]*")) == ["a.json", "z.json"]
    failures = [
        line.removeprefix(f"sam2-block: failed: {tmp_path}{os.sep}")
        for line in capsys.readouterr().err.splitlines()
        if "failed: " in line
    ]
    assert failures == [
        f"photos{os.sep}nothing.jpg: is an empty file.",
        f"photos{os.sep}small.png: image 0: points: object 0, point 0: (20, 10) lies outside the"
        " image (15 wide, 60 high); expected absolute pixels, 0 <= x < 15 and 0 <= y < 60.",
        f"photos{os.sep}text.png: is not an image that OpenCV or Pillow can read.",
        "absent.png: cannot be read (No such file or directory).",
        "empty: no image in this folder (looked for .avif, .bmp, .dib, .gif, .j2k, .jfif, .jp2,"
        " .jpe, .jpeg, .jpg, .pbm, .pgm, .png, .pnm, .ppm, .tif, .tiff, .webp).",
        "closed: cannot be read (Permission denied).",
        f"{'n' * 300}: cannot be read (File name too long).",
    ]


def test_a_block_that_exits_costs_its_image_only(
    workflow_file: Write, image_file: Write, tmp_path: Path, capsys: Capture
) -> None:
    """A script that became a Python block may still end with `sys.exit(0)`."""
    block = {
        "type": "DynamicBlockDefinition",
        "manifest": {
            "type": "ManifestDescription",
            "block_type": "Exit",
            "inputs": {
                "image": {"type": "DynamicInputDefinition", "selector_types": ["input_image"]}
            },
            "outputs": {"width": {"type": "DynamicOutputDefinition", "kind": []}},
        },
        "code": {
            "type": "PythonCode",
            "run_function_code": "def run(self, image):\n"
            "    width = image.numpy_image.shape[1]\n"
            "    return {'width': width} if width > 20 else sys.exit(0)",
            "imports": ["import sys"],
        },
    }
    definition = workflow(
        {"type": "Exit", "name": "exit", "image": "$inputs.image"},
        outputs=[output("width", "$steps.exit.width")],
    )
    definition["dynamic_blocks_definitions"] = [block]
    images = [image_file("a.png", width=15), image_file("b.png")]
    arguments = ["run", workflow_file(definition), "--output", str(tmp_path / "o")]
    assert main([*arguments, "--image", *images]) == 1
    assert f"failed: {images[0]}: SystemExit: 0\n" in capsys.readouterr().err
    assert read_json(tmp_path / "o" / "b.json")["outputs"] == {"width": 80}


def open_folders(iterdir: Any, closed: Path) -> Any:
    """As `Path.iterdir`, but one folder is closed; for root, who runs many tests, none is."""

    def checked(path: Path) -> Any:
        if path == closed:
            raise PermissionError(errno.EACCES, "Permission denied")
        return iterdir(path)

    return checked


def test_a_batch_of_images_is_an_image_input(
    workflow_file: Write, image_file: Write, tmp_path: Path
) -> None:
    definition = workflow(segment())
    definition["inputs"] = [{"type": "WorkflowBatchInput", "name": "image", "kind": ["image"]}]
    arguments = ["run", workflow_file(definition), "--image", image_file()]
    assert main([*arguments, "--output", str(tmp_path)]) == 0
    assert len(read_json(tmp_path / "photo.json")["outputs"]["predictions"]["predictions"]) == 1


def test_parameters_are_json_or_text(
    workflow_file: Write, image_file: Write, tmp_path: Path
) -> None:
    names = ["points", "text", "number", "flag"]
    definition = workflow(
        segment(points="$inputs.points"),
        inputs=[{"type": "WorkflowParameter", "name": name} for name in names],
        outputs=[PREDICTIONS, *(output(name, f"$inputs.{name}") for name in names[1:])],
    )
    arguments = ["run", workflow_file(definition), "--image", image_file()]
    arguments += ["--output", str(tmp_path / "o"), "--param", "points=[[[20, 10]], [[60, 40]]]"]
    arguments += ["--param", "text=a=b", "--param", "number=0.5", "--param", "flag=true"]
    assert main(arguments) == 0
    outputs = read_json(tmp_path / "o" / "photo.json")["outputs"]
    assert len(outputs["predictions"]["predictions"]) == 2
    assert [outputs[name] for name in names[1:]] == ["a=b", 0.5, True]


def test_long_tables_are_capped() -> None:
    detections = sv.Detections(
        xyxy=np.tile([0.0, 1.0, 20.0, 300.0], (7, 1)),
        confidence=np.array([0.5, np.nan, *[1] * 5]),
        tracker_id=np.arange(10, 17),
        data={"class_name": np.array(["a coin", *["cat"] * 6])},
    )
    lines = detection_tables({"boxes": detections}, max_rows=5)
    assert lines == [
        "boxes: 7 detections",
        "  #  class   track  confidence  left  top  right  bottom",
        "  0  a coin     10       0.500     0    1     20     300",
        "  1  cat        11           -     0    1     20     300",
        "  2  cat        12       1.000     0    1     20     300",
        "  3  cat        13       1.000     0    1     20     300",
        "  4  cat        14       1.000     0    1     20     300",
        "  ... and 2 more",
    ]


def test_no_detections_is_no_table() -> None:
    assert detection_tables({"found": sv.Detections.empty(), "count": 0}) == ["found: 0 detections"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, "sam2_block"),
        ("", "sam2_block"),
        ("sam2_block", "sam2_block"),
        ("other, sam2_block", "other,sam2_block"),  # the engine does not strip the names
        ("other", "other,sam2_block"),
    ],
)
def test_the_plugin_is_registered_beside_others(
    before: str | None, after: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WORKFLOWS_PLUGINS", raising=False)
    if before is not None:
        monkeypatch.setenv("WORKFLOWS_PLUGINS", before)
    engine.register_plugin()
    assert os.environ["WORKFLOWS_PLUGINS"] == after


@pytest.mark.slow
def test_a_process_of_its_own_says_nothing_but_its_own(
    workflow_file: Write, image_file: Write, tmp_path: Path
) -> None:
    """No plugin is named in the environment, and no chatter of the engine comes through."""
    definition = workflow(
        {
            "type": "roboflow_core/convert_grayscale@v1",
            "name": "grey",
            "image": "$inputs.image",
        },
        segment(points="$inputs.points"),
        inputs=[{"type": "WorkflowParameter", "name": "points", "default_value": [[900, 900]]}],
        outputs=[PREDICTIONS, output("grey", "$steps.grey.image")],
    )
    environment = {
        name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")
    }
    arguments = ["run", workflow_file(definition), "--image", image_file()]
    done = subprocess.run(
        [sys.executable, "-m", "sam2_block", *arguments, "--output", str(tmp_path / "o")],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
    )
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert [line for line in lines if not line.startswith("sam2-block: ")] == []
    assert "(900, 900) lies outside the image" in lines[-2]
    assert lines[-1] == "sam2-block: 1 of 1 images failed"
    assert done.returncode == 1


def test_results_are_the_same_where_servers_hold_tensors(
    workflow_file: Write, image_file: Write, tmp_path: Path
) -> None:
    definition = workflow(segment(version="demo"))
    arguments = ["run", workflow_file(definition), "--image", image_file()]
    subprocess.run(
        [sys.executable, "-m", "sam2_block", *arguments, "--output", str(tmp_path / "o")],
        check=True,
        env={**os.environ, "ENABLE_TENSOR_DATA_REPRESENTATION": "True"},
    )
    predictions = read_json(tmp_path / "o" / "photo.json")["outputs"]["predictions"]
    (row,) = predictions["predictions"]
    assert row["class"] == "foreground"
    assert row["rle_mask"]["size"] == [60, 80]
