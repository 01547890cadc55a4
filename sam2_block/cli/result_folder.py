"""A folder of results, in which only files that this package wrote are ever replaced."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import unicodedata
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

from sam2_block.errors import InputError

RECORD_NAME = ".sam2-block-results.jsonl"
_MAX_NAME_BYTES = 200  # of the 255 that file systems take; the rest is for numbers and suffixes


class ResultRecord:
    """The names and contents of the results in a folder, kept beside them.

    A file is a result while it has a recorded name and exactly the content that was written: once
    somebody edits it, or puts another file in its place, it is theirs.

    The record is a file of JSON lines that only grows, so that a run which stops at any moment
    leaves the record of the earlier ones whole.

    Args:
        folder: The folder of the results. Without a record in it, no file is a result.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / RECORD_NAME
        self._digests: dict[str, set[str]] = {}
        try:
            lines = self._path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            lines = []
        for line in lines:
            try:
                entry = json.loads(line)
                self._digests.setdefault(name_key(entry["file"]), set()).add(entry["sha256"])
            except (ValueError, TypeError, KeyError, RecursionError):
                continue  # a line that was cut off

    def add(self, name: str, content: bytes) -> None:
        """Record a result before it is written.

        Raises:
            OSError: The record cannot be written.
        """
        digest = hashlib.sha256(content).hexdigest()
        recorded = self._digests.setdefault(name_key(name), set())
        if digest not in recorded:
            # A line break first: the last line may have been cut off.
            line = "\n" + json.dumps({"file": name, "sha256": digest}) + "\n"
            with self._path.open("a", encoding="utf-8") as file:
                file.write(line)
            recorded.add(digest)

    def owns(self, path: Path) -> bool:
        """Whether a file of the folder is a result as it was written; a link never is."""
        digests = self._digests.get(name_key(path.name))
        if not digests:
            return False
        try:
            if not stat.S_ISREG(path.lstat().st_mode):
                return False
            with path.open("rb") as file:
                return hashlib.sha256(file.read()).hexdigest() in digests
        except OSError:
            return False


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
        aside = self.path / f".sam2-block-{uuid.uuid4().hex}.part"
        try:
            try:
                aside.write_bytes(content)
                self._record.add(path.name, content)
                aside.replace(path)
            finally:
                aside.unlink(missing_ok=True)
        except OSError as error:
            raise InputError(f"{path}: cannot be written ({error.strerror}).") from error

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


def name_key(name: str) -> str:
    """Return the same for all names that some file system takes for one."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


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
