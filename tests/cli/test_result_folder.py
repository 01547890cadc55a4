"""What is replaced in a folder of results, and what is not."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sam2_block.cli.result_folder import ResultFolder, check_output_folder
from sam2_block.cli.result_record import RECORD_NAME, ResultRecord, name_key
from sam2_block.errors import InputError


def write(path: Path, *names: str, content: bytes = b"result", inputs: Any = ()) -> list[str]:
    """Write results as one run does; return the names that they got."""
    folder = ResultFolder(path, inputs)
    reserved = [folder.reserve(name, ".png") for name in names]
    for file in reserved:
        folder.write(file, content)
    return [file.name for file in reserved]


def users_file(path: Path) -> None:
    path.write_bytes(b"photo")


def users_link(path: Path) -> None:
    (path.parent / "elsewhere.png").write_bytes(b"photo")
    path.symlink_to("elsewhere.png")


def users_link_to_a_result(path: Path) -> None:
    """Its content is that of a recorded result."""
    (path.parent / "elsewhere.png").write_bytes(b"result")
    path.symlink_to("elsewhere.png")


def users_hard_link(path: Path) -> None:
    users_link(path.with_name("x.png"))
    path.hardlink_to(path.parent / "elsewhere.png")


def broken_link(path: Path) -> None:
    path.symlink_to("nowhere.png")


def users_folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize(
    "make",
    [users_file, users_link, users_link_to_a_result, users_hard_link, broken_link, users_folder],
)
def test_only_results_are_replaced(
    make: Callable[[Path], None], recorded: bool, tmp_path: Path
) -> None:
    """Where `recorded`, a result had the name before something else took its place."""
    if recorded:
        write(tmp_path, "shot")
        (tmp_path / "shot.png").unlink()
    make(tmp_path / "shot.png")
    before = os.lstat(tmp_path / "shot.png")
    for _ in range(2):  # the second run replaces the results of the first
        assert write(tmp_path, "shot", "other") == ["shot-2.png", "other.png"]
    assert os.lstat(tmp_path / "shot.png") == before
    if (tmp_path / "elsewhere.png").exists() and make is not users_link_to_a_result:
        assert (tmp_path / "elsewhere.png").read_bytes() == b"photo"


def test_a_run_replaces_results_of_earlier_ones(tmp_path: Path) -> None:
    for content in (b"one", b"two", b"two"):
        folder = tmp_path / "a" / "b"
        assert write(folder, "x", "x", "y", content=content) == ["x.png", "x-2.png", "y.png"]
        assert (folder / "x-2.png").read_bytes() == content
    assert len((folder / RECORD_NAME).read_text().split()) == 4 * 6  # nothing for the same again


def test_a_result_that_somebody_edited_is_kept(tmp_path: Path) -> None:
    write(tmp_path, "x")
    (tmp_path / "x.png").write_bytes(b"edited")
    folder = ResultFolder(tmp_path)
    assert folder.reserve("x", ".png").name == "x-2.png"
    assert folder.protected == ["x.png"]
    assert (tmp_path / "x.png").read_bytes() == b"edited"


def test_results_that_a_later_run_does_not_give_again(tmp_path: Path) -> None:
    """Of `Shot`, three crops became one; `shots` and `b` are other images."""
    results = ("Shot_crops_0", "Shot_crops_1", "Shot_crops_2", "shots_crops_0", "b_crops_0")
    write(tmp_path, *results)
    (tmp_path / "Shot_crops_2.png").write_bytes(b"edited")
    (tmp_path / "Shot_mine.png").touch()
    folder = ResultFolder(tmp_path)
    assert folder.outdated() == []
    folder.reserve("Shot", ".json")
    folder.write(folder.reserve("Shot_crops_0", ".png"), b"result")
    assert folder.outdated() == ["Shot_crops_1.png"]


def test_a_result_that_is_read_is_kept(tmp_path: Path) -> None:
    write(tmp_path, "x", "y")
    inputs = [tmp_path / "x.png", tmp_path / "absent.png"]
    assert write(tmp_path, "x", "y", inputs=inputs) == ["x-2.png", "y.png"]


def test_names_that_some_file_system_takes_for_one(tmp_path: Path) -> None:
    assert write(tmp_path, "Shot", "shot", "STRASSE", "stra\u00dfe") == (
        ["Shot.png", "shot-2.png", "STRASSE.png", "stra\u00dfe-2.png"]
    )
    assert name_key("CAF\u00c9") == name_key("cafe\u0301")


@pytest.mark.parametrize(
    "name", ["../up", "a/b", "a\\b", "n" * 300, "\u5199" * 200, "\udcff", "a\nb", "", "..", "c:d"]
)
def test_odd_names_stay_in_the_folder(name: str, tmp_path: Path) -> None:
    assert len(write(tmp_path / "o", name, name)) == 2
    assert len(list((tmp_path / "o").iterdir())) == 3
    assert list(tmp_path.iterdir()) == [tmp_path / "o"]


@pytest.mark.parametrize("method", ["write_bytes", "replace"])
def test_a_full_disk_leaves_no_half_file(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "x", content=b"old")
    original = getattr(Path, method)

    def full(path: Path, argument: Any) -> Any:
        if method == "write_bytes":
            original(path, argument[:2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, method, full)
    with pytest.raises(InputError, match=r"x\.png: cannot be written \(No space left"):
        write(tmp_path, "x", content=b"new")
    monkeypatch.undo()
    assert sorted(path.name for path in tmp_path.iterdir()) == [RECORD_NAME, "x.png"]
    assert write(tmp_path, "x") == ["x.png"]  # still known as a result


def test_a_record_does_not_grow_for_ever(tmp_path: Path) -> None:
    """Detections have new ids, and thus other files, in every run."""
    for run in range(120):
        assert write(tmp_path, "X", "y", content=b"%d" % run) == ["X.png", "y.png"]
    assert len((tmp_path / RECORD_NAME).read_text().splitlines()) < 250
    (tmp_path / "X.png").write_bytes(b"118")  # as before a rename that never was
    (tmp_path / "y.png").write_bytes(b"somebody's")
    assert write(tmp_path, "X", "y") == ["X.png", "y-2.png"]


def test_a_record_that_another_run_adds_to_is_left_alone(tmp_path: Path) -> None:
    """Two runs at once in one folder: the second starts while the first writes."""
    running = ResultFolder(tmp_path)
    file = running.reserve("x", ".png")
    for number in range(110):
        running.write(file, b"%d" % number)
    record = ResultRecord(tmp_path)
    running.write(running.reserve("y", ".png"), b"result")
    with pytest.raises(OSError, match="has grown"):
        record.compact()
    assert ResultRecord(tmp_path).owns(tmp_path / "y.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == [RECORD_NAME, "x.png", "y.png"]


def test_a_record_that_is_damaged(tmp_path: Path) -> None:
    write(tmp_path, "x", "y")
    with (tmp_path / RECORD_NAME).open("ab") as file:
        file.write(b'[]\n5\n{"file": 5}\n{"file": "x", "sha256": []}\n\xff\xfe\n{"file": "z", "sh')
    assert write(tmp_path, "x", "z", content=b"more") == ["x.png", "z.png"]
    record = ResultRecord(tmp_path)
    assert all(record.owns(tmp_path / f"{name}.png") for name in "xyz")


def test_results_have_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    write(tmp_path, "x")
    (tmp_path / "other").touch()
    assert (tmp_path / "x.png").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_what_cannot_be_an_output_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nowhere")
    for path in ("file", "file/below", "link"):
        with pytest.raises(InputError, match=r"expected a folder; .*(file|link) is not one"):
            check_output_folder(tmp_path / path)
    check_output_folder(tmp_path / "new" / "below")
    assert not (tmp_path / "new").exists()


def test_a_folder_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)  # root may do anything
    with pytest.raises(InputError, match=f"no permission to write into {tmp_path}"):
        check_output_folder(tmp_path / "new")
