"""The images that were named on the command line."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from sam2_block.errors import ImageError
from sam2_block.images import Image

SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})


def list_images(paths: Iterable[Path]) -> list[Path]:
    """Replace each folder by the images directly in it, by name; the rest stays as it is.

    A folder without images, or one that may not be read, stays too, so that reading it says what is
    wrong, and the images beside it are still processed.
    """
    files: list[Path] = []
    for path in paths:
        try:
            inside = list(path.iterdir()) if path.is_dir() else []
        except OSError:
            inside = []
        images = sorted(file for file in inside if file.suffix.lower() in SUFFIXES)
        files += images or [path]
    return files


def read_image(path: Path) -> Image:
    """Read an image as `(H, W, 3)` BGR, turned as its EXIF data say.

    Raises:
        ImageError: It cannot be read, or is not an image.
    """
    import cv2
    import numpy as np

    try:
        if path.is_dir():
            next(path.iterdir(), None)  # fails where the folder may not be read
            looked_for = ", ".join(sorted(SUFFIXES))
            raise ImageError(f"no image in this folder (looked for {looked_for}).")
        content = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    except OSError as error:
        raise ImageError(f"cannot be read ({error.strerror}).") from error
    try:
        pixels: Image | None = cv2.imdecode(content, cv2.IMREAD_COLOR)
    except cv2.error:  # an empty file, or more pixels than OpenCV takes
        pixels = None
    if pixels is None:
        raise ImageError("is not an image that OpenCV can read.")
    return pixels
