"""Input images, and the channels of them that SAM 2 uses."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam2_block.errors import ImageError

MAX_SIDE = 8192
CHANNELS = (1, 3, 4)
"""Numbers of channels: grey, colour, and colour with alpha."""

Image = NDArray[np.uint8]
"""`(H, W, 3)` in BGR order (OpenCV's), or `(H, W)` grey; values 0 to 255."""


def as_image(pixels: object) -> Image:
    """Check that `pixels` is an image and drop what SAM 2 does not use, without copying.

    Args:
        pixels: `uint8` array: `(H, W)` or `(H, W, 1)` grey, `(H, W, 3)` BGR, or `(H, W, 4)` BGRA,
            whose alpha is ignored. Sides of 1 to 8192 pixels.

    Returns:
        A view of shape `(H, W)` or `(H, W, 3)`.

    Raises:
        ImageError: `pixels` is anything else.
    """
    expected = "expected a uint8 array, (H, W) grey, (H, W, 3) BGR or (H, W, 4) BGRA"
    if not isinstance(pixels, np.ndarray):
        hint = " Did cv2.imread fail to read the file?" if pixels is None else ""
        raise ImageError(f"{expected}; got {type(pixels).__name__}.{hint}")
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3):
        raise ImageError(f"{expected}; got {pixels.dtype} of shape {pixels.shape}.{_hint(pixels)}")
    if pixels.ndim == 3 and pixels.shape[2] not in CHANNELS:
        hint = _hint(pixels)
        raise ImageError(
            f"{expected}; got {pixels.shape[2]} channels (shape {pixels.shape}).{hint}"
        )
    height, width = pixels.shape[:2]
    if not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE):
        raise ImageError(
            f"expected sides of 1 to {MAX_SIDE} pixels; got {width} wide, {height} high."
            " Resize or slice the image first."
        )
    if pixels.ndim == 3:
        return pixels[..., 0] if pixels.shape[2] == 1 else pixels[..., :3]
    return pixels


def _hint(pixels: NDArray[Any]) -> str:
    """Return a sentence for a common mistake, or nothing."""
    hints = []
    if pixels.dtype.kind == "f" and pixels.size and pixels.min() >= 0 and pixels.max() <= 1:
        hints.append("Its values are from 0 to 1: multiply by 255 and convert to uint8.")
    if pixels.ndim == 3 and pixels.shape[0] in CHANNELS and pixels.shape[2] not in CHANNELS:
        hints.append("It looks like (C, H, W): transpose it by pixels.transpose(1, 2, 0).")
    if pixels.ndim == 4 and pixels.shape[0] == 1:
        hints.append("It looks like a batch of one image: pass pixels[0].")
    return "".join(f" {hint}" for hint in hints)


def content_key(image: Image) -> tuple[tuple[int, ...], bytes]:
    """Return a key of an image's content: its shape and a 128-bit digest of its pixels."""
    # SHA-256 is Python's fastest digest on processors with instructions for it.
    digest = hashlib.sha256(np.ascontiguousarray(image).data)
    return image.shape, digest.digest()[:16]


def rgb_channels(image: Image) -> list[NDArray[np.uint8]]:
    """Return the red, green and blue channel, each `(H, W)`; for a grey image only its channel."""
    if image.ndim == 2:
        return [image]
    return [image[..., 2], image[..., 1], image[..., 0]]
