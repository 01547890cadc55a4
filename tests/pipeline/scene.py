"""A video of moving shapes, and where they truly are.

The shapes hold still for a moment of 20 frames and then jump on, as a slow camera shows them;
the codec has no memory, so that the frames of a moment are alike to the last bit.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

FPS, FRAMES, HOLD = 30, 300, 20
HEIGHT, WIDTH = 240, 320
EMPTY_MOMENTS = (0, 8)


def shapes(frame: int) -> dict[str, np.ndarray]:
    """Return the mask of each shape on a frame, the first being 0."""
    moment = frame // HOLD
    drawn: dict[str, np.ndarray] = {}
    if moment in EMPTY_MOMENTS:
        return drawn
    centre = (60 + 14 * moment, 70)
    drawn["ellipse"] = cv2.ellipse(_blank(), centre, (40, 26), 0, 0, 360, 1, -1)
    if 4 <= moment < 13:
        left, top = 250 - 13 * moment, 140 + 2 * moment
        drawn["rectangle"] = cv2.rectangle(_blank(), (left, top), (left + 54, top + 44), 1, -1)
    return {name: mask.astype(bool) for name, mask in drawn.items()}


def picture(frame: int) -> np.ndarray:
    """Draw a frame: bright shapes on a dark ground, BGR."""
    image = np.full((HEIGHT, WIDTH, 3), (40, 30, 25), np.uint8)
    for mask in shapes(frame).values():
        image[mask] = (190, 215, 225)
    return image


def write_video(path: Path, frames: int = FRAMES) -> str:
    """Write the first frames as Motion JPEG, and return the path as text."""
    size = (WIDTH, HEIGHT)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), FPS, size)
    assert writer.isOpened()
    for frame in range(frames):
        writer.write(picture(frame))
    writer.release()
    return str(path)


def _blank() -> np.ndarray:
    return np.zeros((HEIGHT, WIDTH), np.uint8)
