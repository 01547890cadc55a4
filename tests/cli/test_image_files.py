"""Which files of a folder are processed, and what is said of the others."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sam2_block.cli.image_files import check_image_file, list_images
from sam2_block.cli.result_folder import ResultFolder
from sam2_block.errors import ImageError


def make(folder: Path, *names: str) -> None:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).touch()


def names_of(paths: list[Path]) -> list[str]:
    return [path.name for path in paths]


def test_a_folder_reports_what_it_skipped(tmp_path: Path) -> None:
    make(tmp_path, "b.JPG", "a.avif", "c.jp2", "notes.txt", "d.heic", "e.svg", "f.pdf", "g")
    make(tmp_path, "._b.JPG", ".DS_Store")  # quietly
    (tmp_path / "raw.png").mkdir()
    os.mkfifo(tmp_path / "h.png")  # reading it would never end
    files = list_images([tmp_path])
    assert names_of(files.paths) == ["a.avif", "b.JPG", "c.jp2"]
    assert files.remarks == [
        f"{tmp_path}: skipped 6 files (d.heic, e.svg, f.pdf and 3 more), 1 folder (raw.png);"
        " HEIC is not read, export it as JPEG or PNG"
    ]


def test_a_folder_of_images_alone_says_nothing(tmp_path: Path) -> None:
    make(tmp_path, "a.png", "b.tiff")
    (tmp_path / "gone.png").symlink_to("nowhere.png")  # fails when it is read
    files = list_images([tmp_path])
    assert names_of(files.paths) == ["a.png", "b.tiff", "gone.png"]
    assert files.remarks == []


def test_results_of_earlier_runs_are_no_photos(tmp_path: Path) -> None:
    make(tmp_path, "shot.png")
    folder = ResultFolder(tmp_path)
    for name in ("shot_drawn", "shot_mask"):
        folder.write(folder.reserve(name, ".png"), b"drawing")
    files = list_images([tmp_path])
    assert names_of(files.paths) == ["shot.png"]
    assert files.remarks == [f"{tmp_path}: skipped 2 results of earlier runs"]
    # What somebody put in the place of a result is a photo, and a result named itself is an image.
    (tmp_path / "shot_mask.png").write_bytes(b"photo")
    assert names_of(list_images([tmp_path]).paths) == ["shot.png", "shot_mask.png"]
    assert names_of(list_images([tmp_path / "shot_drawn.png"]).paths) == ["shot_drawn.png"]


def test_a_file_named_twice_is_processed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, "a.png", "b.png")
    (tmp_path / "link.png").symlink_to("a.png")  # has a name of its own
    monkeypatch.chdir(tmp_path)
    files = list_images([Path("a.png"), Path(), tmp_path / "b.png", Path("absent"), Path("absent")])
    assert files.paths == [Path("a.png"), Path("b.png"), Path("link.png"), Path("absent")]
    assert files.remarks == ["named more than once and processed once: 3 images"]


@pytest.mark.parametrize("names", [(), ("notes.txt",), (".hidden.png",)])
def test_a_folder_without_images_is_an_error(names: tuple[str, ...], tmp_path: Path) -> None:
    make(tmp_path, *names)
    assert list_images([tmp_path]).paths == [tmp_path]
    with pytest.raises(ImageError, match=r"^no image in this folder \(looked for \.avif, \.bmp"):
        check_image_file(tmp_path)
