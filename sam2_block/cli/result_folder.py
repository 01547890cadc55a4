"""A folder of results, in which only files that this package wrote are ever replaced."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from sam2_block.cli.result_record import ResultRecord, name_key, write_atomically
from sam2_block.errors import InputError

_MAX_NAME_BYTES = 200  # of the 255 that file systems allow; the rest is for numbers and suffixes


class ResultFolder:
    """Reserves file names, and writes each file completely or not at all.

    Only results of earlier runs are replaced, and no two files of this run share a name.

    Args:
        path: The folder; created if it does not exist.
        inputs: Files that this run reads; they are not replaced, even if they are results.

    Attributes:
        path: The folder.
        protected: Names that results could not use, since those files must not be replaced.

    Raises:
        InputError: The folder cannot be created or used.
    """

    def __init__(self, path: Path, inputs: Iterable[Path] = ()) -> None:
        self.path = path
        self.protected: list[str] = []
        self._reserved: set[str] = set()
        check_output_folder(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"--output {path}: cannot be created ({error.strerror}).") from error
        self._record = ResultRecord(path)
        with contextlib.suppress(OSError):
            self._record.compact()
        self._inputs = {key for file in inputs if (key := _file_key(file))}

    def reserve(self, name: str, suffix: str) -> Path:
        """Return a path in the folder for one file; the name cannot point outside the folder."""
        for candidate in _numbered_names(_safe_name(name)):
            path = self.path / (candidate + suffix)
            key = name_key(path.name)
            if key in self._reserved:
                continue
            self._reserved.add(key)
            if self._may_be_written(path):
                return path
            self.protected.append(path.name)
        raise AssertionError("there is always a next number")

    def write(self, path: Path, content: bytes) -> None:
        """Write a file to a reserved path, completely or not at all.

        Raises:
            InputError: The file cannot be written.
        """
        try:
            write_atomically(path, content, before=lambda: self._record.add(path.name, content))
        except OSError as error:
            raise InputError(f"{path}: cannot be written ({error.strerror}).") from error

    def outdated(self) -> list[str]:
        """Return the names of earlier results for the same images that this run did not replace.

        They remain, for example, if a workflow returned more crops of an image than now. A result
        belongs to the same image if its name is that of one of this run's JSON files, without the
        suffix, continued with an underscore.
        """
        stems = {name.removesuffix(".json") for name in self._reserved if name.endswith(".json")}
        names = []
        with contextlib.suppress(OSError):
            for path in sorted(self.path.iterdir()):
                key = name_key(path.name)
                parts = key.split("_")
                starts = {"_".join(parts[:count]) for count in range(1, len(parts))}
                if key not in self._reserved and starts & stems and self._record.owns(path):
                    names.append(path.name)
        return names

    def _may_be_written(self, path: Path) -> bool:
        if not os.path.lexists(path):
            return True
        return self._record.owns(path) and _file_key(path) not in self._inputs


def check_output_folder(path: Path) -> None:
    """Check that a folder exists or can be created, without creating it.

    Raises:
        InputError: A part of the path is not a folder, or is not writable.
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


def _safe_name(name: str) -> str:
    safe = re.sub(r"[^\w.-]", "_", name)
    return safe.encode()[:_MAX_NAME_BYTES].decode(errors="ignore")


def _numbered_names(name: str) -> Iterator[str]:
    yield name
    number = 2
    while True:
        yield f"{name}-{number}"
        number += 1
