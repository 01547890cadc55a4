"""`sam2-block run`, with the real engine and a fake model."""

from __future__ import annotations

import errno
import io
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.Image
import pytest
import supervision as sv
from pycocotools import mask as coco_mask

from sam2_block.cli import engine, main
from sam2_block.cli.console import package_warnings_shown
from sam2_block.cli.detection_tables import detection_tables
from tests.cli.conftest import PREDICTIONS, output, segment, workflow

Write = Callable[..., str]
Capture = pytest.CaptureFixture[str]

MASK_VISUALIZATION = {
    "type": "roboflow_core/mask_visualization@v1",
    "name": "masks",
    "image": "$inputs.image",
    "predictions": "$steps.sam.predictions",
}
WITH_IMAGE = workflow(
    segment(),
    MASK_VISUALIZATION,
    outputs=[
        PREDICTIONS,
        output("scores", "$steps.sam.scores"),
        output("annotated", "$steps.masks.image"),
    ],
)


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(), parse_constant=pytest.fail)


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


def test_no_photo_is_overwritten_and_no_result_is_a_photo(
    workflow_file: Write, image_file: Write, tmp_path: Path, capsys: Capture
) -> None:
    """The results go where the photos are, and one photo has a result's name."""
    image_file("photos/shot.png")
    drawn = Path(image_file("photos/shot_annotated.png", width=90))
    before, folder = drawn.read_bytes(), str(tmp_path / "photos")
    (tmp_path / "photos" / "shot.json").write_text("somebody's labels")
    arguments = ["run", workflow_file(WITH_IMAGE), "--image", folder, "--output", folder]
    results = []
    for _ in range(2):
        assert main(arguments) == 0
        results.append(sorted(path.name for path in Path(folder).glob("[!.]*")))
        assert "[2/2]" in capsys.readouterr().err
    assert results[0] == results[1]
    assert results[0] == [
        *("shot-2.json", "shot-2_annotated.png", "shot.json", "shot.png"),
        *("shot_annotated.json", "shot_annotated.png", "shot_annotated_annotated.png"),
    ]
    assert drawn.read_bytes() == before
    assert (tmp_path / "photos" / "shot.json").read_text() == "somebody's labels"
    assert read_json(tmp_path / "photos" / "shot-2.json")["image"].endswith("shot.png")


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


def test_what_is_kept_of_a_file_is_said(
    workflow_file: Write, tmp_path: Path, capsys: Capture
) -> None:
    pages = [PIL.Image.new("RGB", (80, 60), color) for color in ("red", "blue")]
    pages[0].save(tmp_path / "scan.tif", save_all=True, append_images=pages[1:])
    (tmp_path / "scan.json").touch()
    arguments = ["run", workflow_file({"specification": WITH_IMAGE}), "--output", str(tmp_path)]
    assert main([*arguments, "--image", str(tmp_path / "scan.tif")]) == 0
    err = capsys.readouterr().err
    assert "workflow.json: read the definition inside specification\n" in err
    assert "scan.tif: only the first of 2 pages is read\n" in err
    assert f"sam2-block: {tmp_path}: kept scan.json: no earlier run wrote this" in err


@pytest.mark.skipif(sys.platform != "linux", reason="file names are text here")
def test_what_cannot_be_printed_costs_no_image(
    workflow_file: Write, image_file: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that the console lacks, one that is no text at all, and a reader that went away."""
    image_file("photos/фото.png")
    raw = Path(image_file("photos/b.png"))
    raw.rename(raw.with_name("b\udcff.png"))
    arguments = ["run", workflow_file(workflow(segment())), "--image", str(tmp_path / "photos")]
    reading, writing = os.pipe()
    os.close(reading)
    with (
        os.fdopen(writing, "w", encoding="ascii") as closed,
        io.TextIOWrapper(io.BytesIO(), "ascii") as ascii_only,
    ):
        for stream in (ascii_only, closed):
            monkeypatch.setattr(sys, "stdout", stream)
            folder = tmp_path / stream.encoding / str(stream is closed)
            assert main([*arguments, "--output", str(folder)]) == 0
            assert sorted(path.name for path in folder.glob("*.json")) == ["b_.json", "фото.json"]
        assert "\\u0444\\u043e\\u0442\\u043e.png (" in ascii_only.buffer.getvalue().decode()
    document = read_json(folder / "b_.json")
    assert document["image"].endswith(
        "b\\udcff.png"
    )  # no lone surrogate: not every reader takes it


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


def test_images_of_one_name_keep_their_own_results(
    workflow_file: Write, image_file: Write, tmp_path: Path
) -> None:
    images = [image_file("a/x.png", width=80), image_file("b/x.png", width=70)]
    definition = workflow_file(WITH_IMAGE)
    for _ in range(2):  # a second run replaces the results of the first
        assert main(["run", definition, "--output", str(tmp_path / "o"), "--image", *images]) == 0
    documents = [read_json(tmp_path / "o" / name) for name in ("x.json", "x-2.json")]
    assert [document["image"] for document in documents] == images
    for document, width in zip(documents, (80, 70), strict=True):
        picture = cv2.imread(str(tmp_path / "o" / document["outputs"]["annotated"]))
        assert picture.shape[1] == width
    assert len(list((tmp_path / "o").glob("[!.]*"))) == 4


CROPS = {
    "type": "roboflow_core/dynamic_crop@v1",
    "name": "crop",
    "images": "$inputs.image",
    "predictions": "$steps.sam.predictions",
}


def test_images_inside_lists_are_written(
    workflow_file: Write, image_file: Write, tmp_path: Path, capsys: Capture
) -> None:
    definition = workflow(
        segment(points=[[[20, 10]], [[60, 40]]]),
        CROPS,
        outputs=[output("crops", "$steps.crop.crops"), output("../up", "$steps.crop.predictions")],
    )
    folder = tmp_path / "o"
    arguments = ["run", workflow_file(definition), "--output", str(folder)]
    assert main([*arguments, "--image", image_file()]) == 0
    outputs = read_json(folder / "photo.json")["outputs"]
    assert outputs["crops"] == ["photo_crops_0.png", "photo_crops_1.png"]
    for name in outputs["crops"]:
        # `dynamic_crop` cuts from the first set pixel up to, and without, the last.
        assert cv2.imread(str(folder / name)).shape == (10, 10, 3)
    assert [len(crop["predictions"]) for crop in outputs["../up"]] == [1, 1]
    assert "../up[1]: 1 detection" in capsys.readouterr().out


def test_what_an_earlier_run_left_is_said(
    workflow_file: Write, image_file: Write, tmp_path: Path, capsys: Capture
) -> None:
    """Fewer crops than before: the others look as if they were of this run."""
    definition = workflow(
        segment(points="$inputs.points"),
        CROPS,
        inputs=[{"type": "WorkflowParameter", "name": "points"}],
        outputs=[output("crops", "$steps.crop.crops")],
    )
    arguments = ["run", workflow_file(definition), "--output", str(tmp_path / "o")]
    arguments += ["--image", image_file(), "--param"]
    assert main([*arguments, "points=[[[20, 10]], [[60, 40]]]"]) == 0
    assert "kept" not in capsys.readouterr().err
    assert main([*arguments, "points=[[[20, 10]]]"]) == 0
    assert f"{tmp_path / 'o'}: kept photo_crops_1.png: a result of an earlier run that" in (
        capsys.readouterr().err
    )


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
