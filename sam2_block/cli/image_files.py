"""The image files named on the command line, directly or by their folder."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from sam2_block.cli.console import path_text
from sam2_block.cli.result_record import ResultRecord
from sam2_block.errors import ImageError

SUFFIXES = frozenset(
    (
        *(".avif", ".bmp", ".dib", ".gif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg"),
        *(".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"),
    )
)
"""The suffixes of images in a folder, in lower case; a file named directly may have any name."""

_HEIC_SUFFIXES = frozenset({".heic", ".heif"})
_MAX_NAMES = 3


@dataclass(frozen=True)
class ImageFiles:
    """The files to process, in order, and remarks on what was skipped.

    Attributes:
        paths: Files, and folders without an image; such a folder fails when it is read.
        remarks: One line per folder with anything other than images, and one for repeated files.
    """

    paths: list[Path]
    remarks: list[str]


def list_images(paths: Iterable[Path]) -> ImageFiles:
    """Replace each folder by the images directly in it, sorted by name; other paths stay.

    Results of earlier runs and hidden files do not count as images of a folder. A folder without
    images, or one that cannot be read, stays in the list: reading it reports the reason, and all
    other images are still processed. A file named twice is processed once.
    """
    files: dict[Path, Path] = {}
    remarks: list[str] = []
    repeated = 0
    for path in paths:
        images = [path]
        if _is_folder(path):
            contents = _FolderContents.read(path)
            images = contents.images or [path]
            if contents.skipped():
                remarks.append(f"{path_text(path)}: skipped {contents.skipped()}")
        for image in images:
            repeated += files.setdefault(_path_key(image), image) is not image
    if repeated:
        remarks.append(f"named more than once and processed once: {_count(repeated, 'image')}")
    return ImageFiles(list(files.values()), remarks)


def check_image_file(path: Path) -> None:
    """Check that a path is not a folder; only folders without images stay in the list.

    Raises:
        ImageError: The path is a folder.
    """
    if not _is_folder(path):
        return
    try:
        next(path.iterdir(), None)  # fails if the folder cannot be read
    except OSError as error:
        raise ImageError(f"cannot be read ({error.strerror}).") from error
    raise ImageError(f"no image in this folder (looked for {', '.join(sorted(SUFFIXES))}).")


@dataclass
class _FolderContents:
    images: list[Path] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    results: list[Path] = field(default_factory=list)

    @classmethod
    def read(cls, folder: Path) -> _FolderContents:
        contents = cls()
        try:
            inside = sorted(folder.iterdir())
        except OSError:
            return contents
        record = ResultRecord(folder)
        for path in inside:
            if not path.name.startswith("."):  # macOS puts `._photo.jpg` beside `photo.jpg`
                contents._group_of(path, record).append(path)
        return contents

    def _group_of(self, path: Path, record: ResultRecord) -> list[Path]:
        if record.owns(path):
            return self.results
        if _is_folder(path):
            return self.folders
        if path.suffix.lower() not in SUFFIXES or _is_special(path):
            return self.others
        return self.images

    def skipped(self) -> str:
        """Describe what is not processed; empty if everything is."""
        parts = [
            f"{_count(len(paths), unit)} ({_names(paths)})"
            for paths, unit in ((self.others, "file"), (self.folders, "folder"))
            if paths
        ]
        if self.results:
            parts.append(f"{_count(len(self.results), 'result')} of earlier runs")
        text = ", ".join(parts)
        if any(path.suffix.lower() in _HEIC_SUFFIXES for path in self.others):
            text += "; HEIC is not read, export it as JPEG or PNG"
        return text


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # a name that the system rejects
        return False


def _is_special(path: Path) -> bool:
    """Whether the path exists and is no regular file: reading a named pipe may never end."""
    try:
        return path.exists() and not path.is_file()
    except (OSError, ValueError):
        return False


def _path_key(path: Path) -> Path:
    """Return the same key for all spellings of a path; links to one file have separate keys."""
    try:
        return path.parent.resolve() / path.name
    except (OSError, RuntimeError, ValueError):
        return path


def _count(number: int, unit: str) -> str:
    return f"{number} {unit}{'' if number == 1 else 's'}"


def _names(paths: list[Path]) -> str:
    names = ", ".join(path_text(Path(path.name)) for path in paths[:_MAX_NAMES])
    more = len(paths) - _MAX_NAMES
    return names if more <= 0 else f"{names} and {more} more"
