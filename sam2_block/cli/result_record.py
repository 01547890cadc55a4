"""The record of the files in a folder that earlier runs wrote."""

from __future__ import annotations

import hashlib
import json
import stat
import unicodedata
import uuid
from collections.abc import Callable
from pathlib import Path

RECORD_NAME = ".sam2-block-results.jsonl"


class ResultRecord:
    """The names and digests of the results in a folder, stored in the same folder.

    A file is a result as long as it has a recorded name and exactly the content that was written:
    once a user edits or replaces it, it belongs to the user.

    The record is a file of JSON lines. A run only appends to it, so a run that stops at any moment
    leaves the lines of earlier runs intact.

    Args:
        folder: The folder of the results. Without a record in it, no file is a result.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / RECORD_NAME
        self._digests: dict[str, list[str]] = {}
        self._line_count = 0
        try:
            content = self._path.read_bytes()
        except OSError:
            content = b""
        self._byte_count = len(content)
        for line in content.splitlines():
            try:
                entry = json.loads(line)
                self._digests.setdefault(name_key(entry["file"]), []).append(str(entry["sha256"]))
                self._line_count += 1
            except (ValueError, TypeError, KeyError, RecursionError):
                continue  # an incomplete line

    def add(self, name: str, content: bytes) -> None:
        """Record a result before it is written.

        Raises:
            OSError: The record cannot be written.
        """
        digest = hashlib.sha256(content).hexdigest()
        recorded = self._digests.setdefault(name_key(name), [])
        if recorded[-1:] != [digest]:
            with self._path.open("a", encoding="utf-8") as file:
                file.write("\n" + _line(name, digest))  # the last line may be incomplete
            recorded.append(digest)

    def compact(self) -> None:
        """Drop the outdated lines if they are the larger part.

        Two lines per name remain: the last run may have stopped between recording a result and
        replacing the previous one.

        Raises:
            OSError: The record cannot be written, or has grown since it was read.
        """
        if self._line_count <= 4 * len(self._digests) + 100:
            return
        latest = ((key, recorded[-2:]) for key, recorded in self._digests.items())
        text = "".join(_line(key, digest) for key, digests in latest for digest in digests)
        write_atomically(self._path, text.encode(), before=self._check_unchanged)

    def _check_unchanged(self) -> None:
        """Raise if another run has appended lines since the record was read; they would be lost."""
        if self._path.stat().st_size != self._byte_count:
            raise OSError("the record has grown since it was read")

    def owns(self, path: Path) -> bool:
        """Return whether a file of the folder is an unmodified result; a link never is."""
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


def write_atomically(
    path: Path, content: bytes, before: Callable[[], object] | None = None
) -> None:
    """Write a temporary file and rename it, so that the target is never incomplete.

    Args:
        path: The target, in an existing folder.
        content: The complete content.
        before: Called after the content is written, before the file replaces the target.

    Raises:
        OSError: The file cannot be written; no part of it remains.
    """
    temporary = path.with_name(f".sam2-block-{uuid.uuid4().hex}.part")
    try:
        temporary.write_bytes(content)
        if before:
            before()
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def name_key(name: str) -> str:
    """Return the same key for all names that some file system treats as one."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _line(name: str, digest: str) -> str:
    return json.dumps({"file": name, "sha256": digest}) + "\n"
