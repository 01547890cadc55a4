"""Procedural scenes with the masks of everything in them, drawn from one seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from crockery import cup
from drawing import compose, develop, shadow_across
from labelled import labelled_photo
from objects import Photos, Thing, coins, single
from people import portrait
from textures import FloatImage, fractal, load_photos, photo_crop, ramp, random_colour, texture


@dataclass(frozen=True)
class Scene:
    """A picture and its masks.

    Attributes:
        image: `(S, S, 3)` uint8 RGB.
        masks: `(K, S, S)` bool, the visible part of every thing, part and group.
    """

    image: NDArray[np.uint8]
    masks: NDArray[np.bool_]


def make_scene(rng: np.random.Generator, size: int, test: bool = False) -> Scene:
    """Draws one scene.

    Args:
        rng: The source of every choice; the same state gives the same scene.
        size: Side of the square picture in pixels.
        test: Take backgrounds and surfaces from the held-out photos.

    Returns:
        A scene with at least one mask.
    """
    photos = load_photos(test)
    while True:
        kind = rng.random()
        plain = kind >= 0.4 and rng.random() < 0.6
        ground = _ground(rng, size, photos, plain)
        if rng.random() < 0.2:
            ground = cv2.GaussianBlur(ground, (0, 0), size * rng.uniform(0.005, 0.04))
        if not test and rng.random() < 0.05:
            ground, thing = labelled_photo(rng, size, ground)
            things = [thing, *_mixed(rng, size, photos, ground, int(rng.integers(0, 3)))]
        elif not test and rng.random() < 0.1:
            things = _with_company(rng, size, photos, ground, cup)
        elif kind < 0.4:
            things = _mixed(rng, size, photos, ground, int(rng.integers(2, 8)))
        elif kind < 0.54:
            things = _many(rng, size, photos)
        elif kind < 0.7:
            things = _with_company(rng, size, photos, ground, cup)
        elif kind < 0.84:
            things = _with_company(rng, size, photos, ground, portrait)
        else:
            things = _large(rng, size, photos, ground)
        image, masks = compose(ground, things)
        if len(masks):
            if not test and rng.random() < 0.4:
                for _ in range(int(rng.integers(1, 3))):
                    image = image * shadow_across(rng, size)[..., None]
            return Scene(develop(rng, image), masks)


def _ground(rng: np.random.Generator, size: int, photos: Photos, plain: bool) -> FloatImage:
    """What everything stands on, `(S, S, 3)`."""
    if plain:
        base = np.broadcast_to(random_colour(rng), (size, size, 3)).astype(np.float32)
        image = base + ((ramp(rng, size, size) - 0.5) * rng.uniform(0, 110))[..., None]
        image = image + ((fractal(rng, size, size) - 0.5) * rng.uniform(0, 30))[..., None]
        return np.asarray(image, np.float32)
    if rng.random() < 0.5:
        return photo_crop(rng, size, size, photos)
    if rng.random() < 0.3:
        image = texture(rng, size, size, photos, 0.5)
        cut = int(size * rng.uniform(0.3, 0.7))
        image[cut:] = texture(rng, size - cut, size, photos, 0.5)
        return image
    return texture(rng, size, size, photos, 0.5)


def _box(rng: np.random.Generator, size: int, low: float, high: float) -> tuple[int, int, int, int]:
    """A box whose longer side is `low` to `high` of the picture, small ones more often."""
    side = size * float(np.exp(rng.uniform(np.log(low), np.log(high))))
    aspect = float(np.exp(rng.uniform(-0.75, 0.75)))
    width, height = (max(5, round(side * min(1.0, a))) for a in (aspect, 1 / aspect))
    left = int(rng.uniform(-0.15 * width, size - 0.85 * width))
    top = int(rng.uniform(-0.15 * height, size - 0.85 * height))
    return left, top, width, height


def _colour_at(ground: FloatImage, box: tuple[int, int, int, int]) -> FloatImage:
    left, top, width, height = box
    patch = ground[max(top, 0) : top + height, max(left, 0) : left + width]
    return np.asarray(patch.mean((0, 1)), np.float32)


def _mixed(
    rng: np.random.Generator, size: int, photos: Photos, ground: FloatImage, count: int
) -> list[Thing]:
    boxes = [_box(rng, size, 0.05, 0.65) for _ in range(count)]
    boxes.sort(key=lambda box: -box[2] * box[3])
    return [single(rng, box, photos, _colour_at(ground, box)) for box in boxes]


def _large(rng: np.random.Generator, size: int, photos: Photos, ground: FloatImage) -> list[Thing]:
    box = _box(rng, size, 0.45, 1.25)
    return [
        single(rng, box, photos, _colour_at(ground, box)),
        *_mixed(rng, size, photos, ground, int(rng.integers(0, 3))),
    ]


def _with_company(
    rng: np.random.Generator,
    size: int,
    photos: Photos,
    ground: FloatImage,
    make: Callable[[np.random.Generator, tuple[int, int, int, int], Photos], Thing],
) -> list[Thing]:
    width = int(size * rng.uniform(0.12, 0.6))
    # Photos are wider than high and get squashed to a square, so things in them look taller.
    squash = np.exp(rng.uniform(-0.1, 0.45))
    height = max(12, int(min(width * rng.uniform(0.75, 1.4) * squash, size * 0.95)))
    left = int(rng.uniform(0, max(1, size - width)))
    top = int(rng.uniform(0, max(1, size - height)))
    main = make(rng, (left, top, width, height), photos)
    company = _mixed(rng, size, photos, ground, int(rng.integers(0, 4)))
    return [*company, main] if rng.random() < 0.7 else [main, *company]


def _many(rng: np.random.Generator, size: int, photos: Photos) -> list[Thing]:
    """Many alike things in rows or strewn about, hardly touching."""
    side = size * rng.uniform(0.05, 0.2)
    pitch = side * rng.uniform(1.1, 1.8)
    spread = rng.uniform(0.0, 0.25)
    boxes = []
    offset = rng.uniform(0, pitch, 2)
    for row in np.arange(offset[1], size, pitch):
        for column in np.arange(offset[0], size, pitch):
            if rng.random() < 0.2:
                continue
            own = side * (1 + rng.uniform(-spread, spread))
            y, x = rng.normal((row, column), pitch * 0.04)
            aspect = rng.uniform(0.93, 1.07)
            width, height = max(5, round(own * aspect)), max(5, round(own / aspect))
            boxes.append((round(x - width / 2), round(y - height / 2), width, height))
    kept = rng.permutation(len(boxes))[:30]
    return coins(rng, [boxes[index] for index in kept], photos)
