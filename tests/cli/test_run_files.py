"""Which files `sam2-block run` writes, keeps and says, with the real engine."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import PIL.Image
import pytest

from sam2_block.cli import main
from tests.cli.conftest import (
    WITH_IMAGE,
    output,
    read_json,
    segment,
    workflow,
)

Write = Callable[..., str]
Capture = pytest.CaptureFixture[str]


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
