"""Surfaces for the scenes: crops of photos from installed wheels, and procedural patterns."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

FloatImage = NDArray[np.float32]
"""`(H, W, 3)` RGB in 0 to 255, or `(H, W)` where a docstring says so."""

# Never here: coins, astronaut, coffee and chelsea, on which the finished model is measured.
TRAIN_PHOTOS = (
    "skimage/data/camera.png",
    "skimage/data/brick.png",
    "skimage/data/grass.png",
    "skimage/data/moon.png",
    "skimage/data/motorcycle_left.png",
    "skimage/data/motorcycle_right.png",
    "skimage/data/hubble_deep_field.jpg",
    "skimage/data/ihc.png",
    "skimage/data/retina.jpg",
    "skimage/data/cell.png",
    "skimage/data/text.png",
    "skimage/data/clock_motion.png",
    "skimage/data/color.png",
    "matplotlib/mpl-data/sample_data/grace_hopper.jpg",
)
# Only for the held-out scenes.
TEST_PHOTOS = (
    "skimage/data/rocket.jpg",
    "skimage/data/gravel.png",
    "skimage/data/page.png",
    "skimage/data/microaneurysms.png",
)


@cache
def load_photos(test: bool = False) -> tuple[NDArray[np.uint8], ...]:
    """Reads the photos that feed textures and backgrounds.

    Args:
        test: The photos held out for measuring instead of those for training.

    Returns:
        `(H, W, 3)` RGB images, the longer side at most 900 pixels.
    """
    return tuple(load_photo(name) for name in (TEST_PHOTOS if test else TRAIN_PHOTOS))


def load_photo(name: str) -> NDArray[np.uint8]:
    """Reads one of the photos above as `(H, W, 3)` RGB, the longer side at most 900 pixels."""
    package, _, rest = name.partition("/")
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise RuntimeError(f"textures need the package {package}: pip install {package}")
    bgr = cv2.imread(str(Path(spec.origin).parent / rest), cv2.IMREAD_COLOR)
    if bgr is None:
        raise RuntimeError(f"{name} is missing from the installed {package}")
    scale = min(1.0, 900 / max(bgr.shape[:2]))
    small = cv2.resize(bgr, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(small[:, :, ::-1])


def random_colour(rng: np.random.Generator) -> FloatImage:
    """A colour as `(3,)` RGB in 0 to 255; greys and muted colours are as common as vivid ones."""
    grey = rng.uniform(15, 245)
    vivid = rng.uniform(0, 255, 3)
    return np.asarray(grey + (vivid - grey) * rng.uniform(0, 1) ** 1.5, np.float32)


def noise(rng: np.random.Generator, height: int, width: int, cells: float) -> FloatImage:
    """Smooth noise as `(H, W)` in 0 to 1, about `cells` bumps along the longer side."""
    unit = max(height, width) / max(cells, 1.0)
    rows, columns = max(2, round(height / unit) + 1), max(2, round(width / unit) + 1)
    coarse = rng.random((rows, columns), dtype=np.float32)
    field = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(field.clip(0, 1), np.float32)


def fractal(rng: np.random.Generator, height: int, width: int) -> FloatImage:
    """Noise of several octaves as `(H, W)` in 0 to 1."""
    cells, weight = rng.uniform(2, 12), rng.uniform(0.4, 0.8)
    octaves = [noise(rng, height, width, cells * 2**i) * weight**i for i in range(4)]
    total = np.add.reduce(octaves)
    low, high = float(total.min()), float(total.max())
    return np.asarray((total - low) / max(high - low, 1e-3), np.float32)


def relief(rng: np.random.Generator, height: int, width: int) -> FloatImage:
    """An embossed surface lit from one side, as `(H, W)` around 0, about -1 to 1."""
    field = noise(rng, height, width, rng.uniform(4, 14))
    if rng.random() < 0.5:
        field = (field > 0.5).astype(np.float32)
        field = cv2.GaussianBlur(field, (0, 0), max(0.6, min(height, width) / 60))
    dx, dy = cv2.Sobel(field, cv2.CV_32F, 1, 0), cv2.Sobel(field, cv2.CV_32F, 0, 1)
    angle = rng.uniform(0, 2 * np.pi)
    slope = dx * np.float32(np.cos(angle)) + dy * np.float32(np.sin(angle))
    return np.asarray(slope / max(float(np.abs(slope).max()), 1e-3), np.float32)


def coordinates(height: int, width: int) -> tuple[FloatImage, FloatImage]:
    """Pixel centres in -1 to 1 as a row `(1, W)` of x and a column `(H, 1)` of y."""
    x = (np.arange(width, dtype=np.float32)[None] + 0.5) * (2 / width) - 1
    y = (np.arange(height, dtype=np.float32)[:, None] + 0.5) * (2 / height) - 1
    return x, y


def ramp(rng: np.random.Generator, height: int, width: int) -> FloatImage:
    """A linear or round gradient as `(H, W)` in 0 to 1."""
    x, y = coordinates(height, width)
    if rng.random() < 0.6:
        angle = rng.uniform(0, 2 * np.pi)
        field = x * np.cos(angle) + y * np.sin(angle)
    else:
        field = np.hypot(x - rng.uniform(-1, 1), y - rng.uniform(-1, 1))
    low, high = float(field.min()), float(field.max())
    return np.asarray((field - low) / max(high - low, 1e-3), np.float32)


def _mix(field: FloatImage, first: FloatImage, second: FloatImage) -> FloatImage:
    return first + field[..., None] * (second - first)


def photo_crop(
    rng: np.random.Generator, height: int, width: int, photos: tuple[NDArray[np.uint8], ...]
) -> FloatImage:
    """A random crop of a random photo, zoomed, mirrored and often tinted, as `(H, W, 3)`."""
    photo = photos[int(rng.integers(len(photos)))]
    full_height, full_width = photo.shape[:2]
    scale = min(full_height / height, full_width / width) * rng.uniform(0.2, 1.0)
    rows = int(np.clip(round(height * scale), 2, full_height))
    columns = int(np.clip(round(width * scale), 2, full_width))
    top = int(rng.integers(full_height - rows + 1))
    left = int(rng.integers(full_width - columns + 1))
    crop = photo[top : top + rows, left : left + columns]
    way = cv2.INTER_AREA if scale > 1 else cv2.INTER_LINEAR
    image = cv2.resize(crop, (width, height), interpolation=way).astype(np.float32)
    if rng.random() < 0.5:
        image = image[:, ::-1]
    if rng.random() < 0.4:
        image = image[..., rng.permutation(3)]
    if rng.random() < 0.4:
        gain, shift = rng.uniform(0.4, 1.4, 3), rng.uniform(-40, 40, 3)
        image = image * gain.astype(np.float32) + shift.astype(np.float32)
    return np.ascontiguousarray(image.clip(0, 255))


def _flat(rng: np.random.Generator, height: int, width: int) -> FloatImage:
    return np.broadcast_to(random_colour(rng), (height, width, 3)).copy()


def _gradient(rng: np.random.Generator, height: int, width: int) -> FloatImage:
    return _mix(ramp(rng, height, width), random_colour(rng), random_colour(rng))


def _cloud(rng: np.random.Generator, height: int, width: int) -> FloatImage:
    field = fractal(rng, height, width)
    if rng.random() < 0.3:
        field = (field > rng.uniform(0.35, 0.65)).astype(np.float32)
    return _mix(field, random_colour(rng), random_colour(rng))


def _stripes(rng: np.random.Generator, height: int, width: int) -> FloatImage:
    x, y = coordinates(height, width)
    angle, count = rng.uniform(0, np.pi), rng.uniform(2, 14)
    field = np.sin((x * np.cos(angle) + y * np.sin(angle)) * count * np.pi)
    if rng.random() < 0.35:
        field = field * np.sin((y * np.cos(angle) - x * np.sin(angle)) * count * np.pi)
    sharp = rng.uniform(1, 6)
    field = (0.5 + 0.5 * np.clip(field * sharp, -1, 1)).astype(np.float32)
    return _mix(field, random_colour(rng), random_colour(rng))


def _grain(rng: np.random.Generator, height: int, width: int) -> FloatImage:
    field = rng.random((height, width), dtype=np.float32)
    field = cv2.GaussianBlur(field, (0, 0), rng.uniform(0.5, 1.6))
    base = random_colour(rng)
    return np.asarray(base + ((field - 0.5) * rng.uniform(40, 200))[..., None], np.float32)


def _spots(rng: np.random.Generator, height: int, width: int) -> FloatImage:
    image = _gradient(rng, height, width) if rng.random() < 0.5 else _flat(rng, height, width)
    colour = tuple(float(c) for c in random_colour(rng))
    size = max(height, width)
    for _ in range(int(rng.integers(5, 30))):
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        cv2.circle(image, centre, max(1, round(size * rng.uniform(0.01, 0.07))), colour, -1)
    return image


_PATTERNS: tuple[tuple[Callable[[np.random.Generator, int, int], FloatImage], float], ...] = (
    (_flat, 0.22),
    (_gradient, 0.2),
    (_cloud, 0.26),
    (_stripes, 0.14),
    (_grain, 0.1),
    (_spots, 0.08),
)


def texture(
    rng: np.random.Generator,
    height: int,
    width: int,
    photos: tuple[NDArray[np.uint8], ...],
    photo_share: float = 0.35,
) -> FloatImage:
    """A surface of any kind.

    Args:
        rng: The source of every choice.
        height: Rows.
        width: Columns.
        photos: Photos to crop from, see `load_photos`.
        photo_share: How often a photo is taken rather than a pattern, 0 to 1.

    Returns:
        `(H, W, 3)` RGB, 0 to 255, not yet clipped.
    """
    if rng.random() < photo_share:
        return photo_crop(rng, height, width, photos)
    weights = np.array([weight for _, weight in _PATTERNS])
    pattern = _PATTERNS[int(rng.choice(len(_PATTERNS), p=weights / weights.sum()))][0]
    image = pattern(rng, height, width)
    if rng.random() < 0.5:
        image = image + ((fractal(rng, height, width) - 0.5) * rng.uniform(10, 70))[..., None]
    return image.astype(np.float32, copy=False)


def patchwork(
    rng: np.random.Generator, height: int, width: int, photos: tuple[NDArray[np.uint8], ...]
) -> FloatImage:
    """Two surfaces in patches, as fur and faces have: more contrast inside than at the edge."""
    field = noise(rng, height, width, rng.uniform(2, 9))
    field = ((field - rng.uniform(0.35, 0.65)) * rng.uniform(2, 12) + 0.5).clip(0, 1)
    first = texture(rng, height, width, photos, 0.5)
    second = texture(rng, height, width, photos, 0.5)
    calm = rng.uniform(0.2, 1.0)
    return np.asarray(first + field[..., None] * (second - first) * calm, np.float32)
