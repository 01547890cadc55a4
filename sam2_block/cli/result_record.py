"""Which files of a folder an earlier run wrote."""

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
    """The names and contents of the results in a folder, kept beside them.

    A file is a result while it has a recorded name and exactly the content that was written: once
    somebody edits it, or puts another file in its place, it is theirs.

    The record is a file of JSON lines. A run only adds to it, so that one which stops at any moment
    leaves the lines of earlier ones whole.

    Args:
        folder: The folder of the results. Without a record in it, no file is a result.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / RECORD_NAME
        self._digests: dict[str, list[str]] = {}
        self._length = 0
        try:
            content = self._path.read_bytes()
        except OSError:
            content = b""
        self._bytes = len(content)
        for line in content.splitlines():
            try:
                entry = json.loads(line)
                self._digests.setdefault(name_key(entry["file"]), []).append(str(entry["sha256"]))
                self._length += 1
            except (ValueError, TypeError, KeyError, RecursionError):
                continue  # a line that was cut off

    def add(self, name: str, content: bytes) -> None:
        """Record a result before it is written.

        Raises:
            OSError: The record cannot be written.
        """
        digest = hashlib.sha256(content).hexdigest()
        recorded = self._digests.setdefault(name_key(name), [])
        if recorded[-1:] != [digest]:
            with self._path.open("a", encoding="utf-8") as file:
                file.write("\n" + _line(name, digest))  # after a line that may have been cut off
            recorded.append(digest)

    def compact(self) -> None:
        """Drop what is out of date, where that is the larger part.

        Of each name two lines stay: the last run may have stopped between recording a result and
        putting it in the place of the one before.

        Raises:
            OSError: The record cannot be written, or has grown since it was read.
        """
        if self._length <= 4 * len(self._digests) + 100:
            return
        latest = ((key, recorded[-2:]) for key, recorded in self._digests.items())
        text = "".join(_line(key, digest) for key, digests in latest for digest in digests)
        write_whole(self._path, text.encode(), before=self._check_unchanged)

    def _check_unchanged(self) -> None:
        """Another run may write into the same folder, and would lose what it added meanwhile."""
        if self._path.stat().st_size != self._bytes:
            raise OSError("the record has grown since it was read")

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


def write_whole(path: Path, content: bytes, before: Callable[[], object] | None = None) -> None:
    """Write a file aside and rename it, so that it is never half there.

    Args:
        path: Where it goes, in a folder that is there.
        content: All of it.
        before: Called once the content is written, before it replaces what `path` was.

    Raises:
        OSError: It cannot be written; nothing is left of it.
    """
    aside = path.with_name(f".sam2-block-{uuid.uuid4().hex}.part")
    try:
        aside.write_bytes(content)
        if before:
            before()
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def name_key(name: str) -> str:
    """Return the same for all names that some file system takes for one."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _line(name: str, digest: str) -> str:
    return json.dumps({"file": name, "sha256": digest}) + "\n"
