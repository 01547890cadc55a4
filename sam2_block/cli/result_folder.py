"""A folder of results, in which only files that this package wrote are ever replaced."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from sam2_block.cli.result_record import ResultRecord, name_key, write_whole
from sam2_block.errors import InputError

_MAX_NAME_BYTES = 200  # of the 255 that file systems take; the rest is for numbers and suffixes


class ResultFolder:
    """Gives out file names, and writes whole files or none.

    No file is replaced but results of earlier runs, and no two files of this run share a name.

    Args:
        path: Made if it is not there.
        inputs: Files that this run reads; they are not replaced, even where they are results.

    Attributes:
        path: The folder.
        kept: Names that results would have had, but for a file that is not theirs to replace.

    Raises:
        InputError: The folder cannot be made or used.
    """

    def __init__(self, path: Path, inputs: Iterable[Path] = ()) -> None:
        self.path = path
        self.kept: list[str] = []
        self._taken: set[str] = set()
        check_output_folder(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"--output {path}: cannot be made ({error.strerror}).") from error
        self._record = ResultRecord(path)
        with contextlib.suppress(OSError):
            self._record.compact()
        self._inputs = {key for file in inputs if (key := _file_key(file))}

    def reserve(self, name: str, suffix: str) -> Path:
        """Return a path in the folder for one file; names cannot leave the folder."""
        for candidate in _numbered(_safe(name)):
            path = self.path / (candidate + suffix)
            key = name_key(path.name)
            if key in self._taken:
                continue
            self._taken.add(key)
            if self._may_be_written(path):
                return path
            self.kept.append(path.name)
        raise AssertionError("there is always a next number")

    def write(self, path: Path, content: bytes) -> None:
        """Write a file under a reserved path; it is there whole, or not at all.

        Raises:
            InputError: It cannot be written.
        """
        try:
            write_whole(path, content, before=lambda: self._record.add(path.name, content))
        except OSError as error:
            raise InputError(f"{path}: cannot be written ({error.strerror}).") from error

    def outdated(self) -> list[str]:
        """Return names of earlier results that a later run of the same image did not replace.

        As where a workflow gave more crops of it than now. A name that starts as this run's JSON
        files do, and continues with an underscore, counts as one of the same image.
        """
        stems = {name.removesuffix(".json") for name in self._taken if name.endswith(".json")}
        names = []
        with contextlib.suppress(OSError):
            for path in sorted(self.path.iterdir()):
                key = name_key(path.name)
                parts = key.split("_")
                starts = {"_".join(parts[:count]) for count in range(1, len(parts))}
                if key not in self._taken and starts & stems and self._record.owns(path):
                    names.append(path.name)
        return names

    def _may_be_written(self, path: Path) -> bool:
        if not os.path.lexists(path):
            return True
        return self._record.owns(path) and _file_key(path) not in self._inputs


def check_output_folder(path: Path) -> None:
    """Check, without making it, that a folder is there or can be made.

    Raises:
        InputError: Something on the way is no folder, or files may not be made in it.
    """
    for existing in (path, *path.parents):
        if not os.path.lexists(existing):
            continue
        if not os.path.isdir(existing):  # noqa: PTH112 - `Path.is_dir` may raise
            raise InputError(f"--output {path}: expected a folder; {existing} is not one.")
        if not os.access(existing, os.W_OK | os.X_OK):
            raise InputError(f"--output {path}: no permission to write into {existing}.")
        return


def _file_key(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


def _safe(name: str) -> str:
    safe = re.sub(r"[^\w.-]", "_", name)
    return safe.encode()[:_MAX_NAME_BYTES].decode(errors="ignore")


def _numbered(name: str) -> Iterator[str]:
    yield name
    number = 2
    while True:
        yield f"{name}-{number}"
        number += 1
