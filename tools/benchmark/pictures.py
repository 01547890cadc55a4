"""Photos of any size, each of its own, and boxes as a detector might give them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage import data

Image = NDArray[np.uint8]
Boxes = NDArray[np.float32]

PHOTOS = ("astronaut", "coffee", "chelsea", "rocket")
_TILES_ACROSS, _TILES_DOWN = 3, 2

# Sides of boxes, as shares of the image's longer side: 40 to 300 pixels of 1800.
_LEAST_SIDE, _MOST_SIDE = 40 / 1800, 300 / 1800
_MOST_STRETCH = 1.8  # of a box's longer side over its shorter one


@cache
def _photo(name: str) -> Image:
    pixels: Image = getattr(data, name)()
    return np.ascontiguousarray(pixels[..., :3][..., ::-1])


def make_image(seed: Sequence[int], width: int, height: int) -> Image:
    """Return a collage of six crops of photos, `(height, width, 3)` BGR; another for every seed."""
    rng = np.random.default_rng(seed)
    image = np.empty((height, width, 3), dtype=np.uint8)
    columns = np.linspace(0, width, _TILES_ACROSS + 1).astype(int)
    rows = np.linspace(0, height, _TILES_DOWN + 1).astype(int)
    for top, bottom in pairwise(rows):
        for left, right in pairwise(columns):
            photo = _photo(PHOTOS[rng.integers(len(PHOTOS))])
            crop = (np.array(photo.shape[:2]) * rng.uniform(0.5, 1.0)).astype(int)
            y, x = (rng.integers(0, free + 1) for free in photo.shape[:2] - crop)
            part = photo[y : y + crop[0], x : x + crop[1]]
            if rng.random() < 0.5:
                part = part[:, ::-1]
            size = (int(right - left), int(bottom - top))
            image[top:bottom, left:right] = cv2.resize(part, size, interpolation=cv2.INTER_CUBIC)
    return image


def make_boxes(seed: Sequence[int], count: int, width: int, height: int) -> Boxes:
    """Return `(count, 4)` boxes x1, y1, x2, y2 inside an image; small ones are more frequent."""
    rng = np.random.default_rng(seed)
    longer = np.exp(rng.uniform(np.log(_LEAST_SIDE), np.log(_MOST_SIDE), count))
    shorter = longer / rng.uniform(1, _MOST_STRETCH, count)
    upright = rng.random((count, 1)) < 0.5
    sides = np.where(upright, np.stack([shorter, longer], 1), np.stack([longer, shorter], 1))
    sides = (sides * max(width, height)).clip(8, (width, height))
    corners = rng.uniform(0, 1, (count, 2)) * ((width, height) - sides)
    return np.hstack([corners, corners + sides]).astype(np.float32)


def ellipses(boxes: Boxes, width: int, height: int) -> NDArray[np.bool_]:
    """Return the ellipse inside each box, `(count, height, width)`."""
    across = np.arange(width, dtype=np.float32) + 0.5
    down = np.arange(height, dtype=np.float32) + 0.5
    middles, radii = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
    x = ((across - middles[:, :1]) / radii[:, :1]) ** 2
    y = ((down - middles[:, 1:]) / radii[:, 1:]) ** 2
    return np.asarray(x[:, None, :] + y[:, :, None] < 1)
