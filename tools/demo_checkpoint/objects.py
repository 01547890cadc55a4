"""Things that stand in a scene: layers, single objects, and rows of coins."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from shapes import Alpha, blob, full_ellipse, random_shape, superellipse
from textures import FloatImage, coordinates, patchwork, ramp, random_colour, relief, texture

Photos = tuple[NDArray[np.uint8], ...]


@dataclass(frozen=True)
class Sprite:
    """One opaque layer: its surface, its outline, and the pixel of its top left corner."""

    rgb: FloatImage
    alpha: Alpha
    left: int
    top: int


@dataclass(frozen=True)
class Thing:
    """Sprites from back to front, and the sets of them that a person may mean by one prompt.

    Attributes:
        sprites: The layers, the rearmost first.
        targets: Indices into `sprites`; each entry is one part or whole worth a mask.
        shadow: Strength of the soft shadow under it, 0 for none.
    """

    sprites: tuple[Sprite, ...]
    targets: tuple[tuple[int, ...], ...]
    shadow: float = 0.0


def shade(rng: np.random.Generator, rgb: FloatImage, alpha: Alpha) -> FloatImage:
    """Gives a flat surface body: darker or lighter rims, a light from one side, a highlight."""
    height, width = alpha.shape
    kind = rng.random()
    if kind < 0.3:
        distance = cv2.distanceTransform((alpha > 0.5).astype(np.uint8), cv2.DIST_L2, 3)
        depth = max(1.0, min(height, width) * rng.uniform(0.04, 0.3))
        rim = (1 - distance / depth).clip(0, 1)
        rgb = rgb * (1 + rim * rng.uniform(-0.6, 0.4))[..., None]
    elif kind < 0.6:
        light = (ramp(rng, height, width) - 0.5) * rng.uniform(0.2, 1.1)
        rgb = rgb * (1 + light)[..., None]
    if rng.random() < 0.15:
        x, y = coordinates(height, width)
        spot = np.hypot(x - rng.uniform(-0.6, 0.6), y - rng.uniform(-0.6, 0.6))
        rgb = (
            rgb
            + (np.exp(-((spot / rng.uniform(0.08, 0.3)) ** 2)) * rng.uniform(60, 200))[..., None]
        )
    if rng.random() < 0.12:
        edge = alpha - cv2.erode(alpha, np.ones((3, 3), np.uint8))
        rgb = rgb + edge[..., None] * (random_colour(rng) - rgb)
    return rgb.astype(np.float32, copy=False)


def single(
    rng: np.random.Generator, box: tuple[int, int, int, int], photos: Photos, ground: FloatImage
) -> Thing:
    """One object of any outline and surface.

    Args:
        rng: The source of every choice.
        box: Left, top, width and height in pixels; may leave the picture.
        photos: Photos to crop surfaces from.
        ground: `(3,)` RGB of what is behind, for objects that hardly stand out.
    """
    left, top, width, height = box
    alpha = random_shape(rng, height, width)
    mixed = rng.random() < 0.2
    rgb = patchwork(rng, height, width, photos) if mixed else texture(rng, height, width, photos)
    if rng.random() < 0.15:
        calm = rgb.mean((0, 1)) + (rgb - rgb.mean((0, 1))) * 0.5
        shift = rng.choice([-1, 1]) * rng.uniform(15, 40) + rng.normal(0, 6, 3)
        rgb = calm - calm.mean((0, 1)) + ground + shift
    rgb = shade(rng, rgb.astype(np.float32), alpha)
    sprites = [Sprite(rgb, alpha, left, top)]
    targets: list[tuple[int, ...]] = [(0,)]
    if rng.random() < 0.22 and min(height, width) >= 24:
        # A part on the object: the point may mean the part or the whole.
        rows, columns = (max(6, int(s * rng.uniform(0.2, 0.55))) for s in (height, width))
        dy, dx = (
            int(rng.uniform(0.2, 0.8) * (height - rows)),
            int(rng.uniform(0.2, 0.8) * (width - columns)),
        )
        part = random_shape(rng, rows, columns) * alpha[dy : dy + rows, dx : dx + columns]
        surface = shade(rng, texture(rng, rows, columns, photos), part)
        sprites.append(Sprite(surface, part, left + dx, top + dy))
        targets = [(0, 1), (1,)]
    return Thing(tuple(sprites), tuple(targets), random_shadow(rng))


def random_shadow(rng: np.random.Generator) -> float:
    """The strength of a shadow, often none."""
    return float(rng.uniform(0.15, 0.65)) if rng.random() < 0.35 else 0.0


def coins(
    rng: np.random.Generator, boxes: list[tuple[int, int, int, int]], photos: Photos
) -> list[Thing]:
    """Alike discs, pills or pebbles with a raised rim and an embossed face, one for each box."""
    round_kind = rng.random()
    base = random_colour(rng) * 0.6 + 60
    contrast, rim_gain = rng.uniform(10, 90), rng.uniform(-60, 70)
    photo_share = rng.choice([0.0, 0.6])
    shadow = random_shadow(rng)
    things = []
    for left, top, width, height in boxes:
        if round_kind < 0.7:
            alpha = full_ellipse(height, width)
        elif round_kind < 0.85:
            alpha = superellipse(rng, height, width)
        else:
            alpha = blob(rng, height, width)
        distance = cv2.distanceTransform((alpha > 0.5).astype(np.uint8), cv2.DIST_L2, 3)
        depth = max(1.0, float(distance.max()) * 0.22)
        rim = np.exp(-(((distance - depth * 0.5) / (depth * 0.6)) ** 2))
        tone = rng.uniform(-25, 25)
        face = relief(rng, height, width) * contrast * (0.4 + 0.6 * (distance > depth))
        light = (ramp(rng, height, width) - 0.5) * rng.uniform(0, 60)
        rgb = (base + tone) + (face + rim * rim_gain + light)[..., None]
        if rng.random() < photo_share:
            detail = texture(rng, height, width, photos, photo_share=1.0).mean(-1)
            rgb = rgb + ((detail - detail.mean()) * rng.uniform(0.1, 0.5))[..., None]
        sprite = Sprite(rgb.astype(np.float32), alpha, left, top)
        things.append(Thing((sprite,), ((0,),), shadow))
    return things
