"""Cups with a drink in them, with or without handle, saucer and spoon."""

from __future__ import annotations

import cv2
import numpy as np

from objects import Photos, Sprite, Thing, random_shadow, shade
from shapes import Alpha, curve, full_ellipse, superellipse
from textures import FloatImage, coordinates, fractal, noise, ramp, random_colour, texture


def cup(rng: np.random.Generator, box: tuple[int, int, int, int], photos: Photos) -> Thing:
    """A cup seen from above or the side.

    Args:
        rng: The source of every choice.
        box: Left, top, width and height in pixels of the cup's mouth and body.
        photos: Photos to crop surfaces from.
    """
    left, top, width, height = box
    # A photo that is squashed to a square makes round mouths taller than wide.
    tilt = rng.uniform(0.3, 1.0) * np.exp(rng.uniform(0, 0.4))
    mouth = max(6, int(min(width * tilt, height * rng.uniform(0.65, 0.9))))
    dark = rng.random() < 0.45
    paint = _dark_glaze(rng) if dark else _paint(rng)
    sprites: list[Sprite] = []
    targets: list[tuple[int, ...]] = []
    if rng.random() < 0.65:
        middle = (left + width // 2, top + int(height * rng.uniform(0.55, 0.9)))
        colour = paint if rng.random() < 0.75 else _paint(rng)
        sprites.append(_saucer(rng, colour, middle, width, tilt, shine=dark))
        targets.append((0,))
    first = len(sprites)
    handle = _handle(rng, paint, box) if rng.random() < 0.75 else None
    body = Sprite(
        _glaze(rng, paint, height, width, photos, mirror=dark),
        _body(rng, height, width, mouth),
        left,
        top,
    )
    in_front = rng.random() < 0.4
    sprites += [part for part in ((body, handle) if in_front else (handle, body)) if part]
    inner = paint if not dark and rng.random() < 0.45 else _paint(rng)
    inside = len(sprites)
    sprites += _mouth(rng, inner, mouth, width, left, top)
    whole = tuple(range(first, len(sprites)))
    targets += [whole, tuple(range(inside, len(sprites))), (len(sprites) - 1,)]
    if first:
        targets.append((0, *whole))
    if rng.random() < 0.25:
        sprites.append(_spoon(rng, box))
        targets.append((len(sprites) - 1,))
    return Thing(tuple(sprites), tuple(targets), random_shadow(rng))


def _paint(rng: np.random.Generator) -> FloatImage:
    if rng.random() < 0.5:
        return random_colour(rng)
    return (rng.uniform(150, 245) + rng.normal(0, 5, 3)).astype(np.float32)


def _dark_glaze(rng: np.random.Generator) -> FloatImage:
    """A deep glossy colour, brown as often as any other."""
    if rng.random() < 0.5:
        red = rng.uniform(60, 190)
        return np.array(
            [red, red * rng.uniform(0.2, 0.6), red * rng.uniform(0.05, 0.5)], np.float32
        )
    return random_colour(rng) * np.float32(rng.uniform(0.25, 0.7))


def _reflections(rng: np.random.Generator, height: int, width: int) -> FloatImage:
    """What a glossy round body mirrors, `(H, W)`: dark and bright bands bent like its foot."""
    x, y = coordinates(height, width)
    depth = y + np.sqrt((1.05 - x**2).clip(0)) * rng.uniform(-0.6, -0.1)
    profile = cv2.resize(rng.random((1, int(rng.integers(5, 14))), dtype=np.float32), (400, 1))
    bands = profile.ravel()[((depth + 2) * 100).astype(np.int32).clip(0, 399)] - 0.6
    gaps = noise(rng, height, width, rng.uniform(2, 6)) > rng.uniform(0.2, 0.6)
    sharp = np.where(bands > 0.25, rng.uniform(60, 180), bands * 60) * gaps
    return np.asarray(
        cv2.GaussianBlur(sharp.astype(np.float32), (0, 0), 1 + width / 150), np.float32
    )


def _body(rng: np.random.Generator, height: int, width: int, mouth: int) -> Alpha:
    """The outside: the mouth's ellipse, sides that narrow, and a round foot."""
    body = np.zeros((height, width), np.float32)
    body[:mouth] = full_ellipse(mouth, width)
    narrow, foot = rng.uniform(0.35, 1.0), min(height, max(4, int(mouth * 0.5)))
    x, y = coordinates(height, width)
    reach = 1 - (1 - narrow) * ((y + 1) / 2) ** rng.uniform(0.8, 2.5)
    side = ((reach - np.abs(x)) * width / 4).clip(0, 1)
    side[: mouth // 2] = 0
    side[height - foot // 2 :] = 0
    body = np.maximum(body, side)
    wide = max(4, int(width * narrow))
    start = (width - wide) // 2
    base = body[height - foot :, start : start + wide]
    np.maximum(base, full_ellipse(foot, wide), out=base)
    return np.asarray(body, np.float32)


def _glaze(
    rng: np.random.Generator,
    paint: FloatImage,
    height: int,
    width: int,
    photos: Photos,
    mirror: bool,
) -> FloatImage:
    """Paint or a print, lit like a cylinder, often darker below, often with a highlight."""
    x, y = coordinates(height, width)
    printed = not mirror and rng.random() < 0.3
    rgb = texture(rng, height, width, photos) if printed else paint
    light = np.cos((x - rng.uniform(-0.7, 0.7)) * 1.6) * rng.uniform(0.15, 0.6) + 0.65
    light = light * (1 - (y + 1) / 2 * rng.uniform(0, 0.8))
    if mirror and rng.random() < 0.5:
        light = light * 0.3 + 0.65  # hardly told from a saucer of the same glaze
    spot = ((x - rng.uniform(-0.6, 0.6)) / 0.12) ** 2 + ((y - rng.uniform(0, 0.6)) / 0.3) ** 2
    shine = np.exp(-spot) * (rng.uniform(60, 160) if rng.random() < 0.6 else 0)
    if mirror and rng.random() < 0.8:
        shine = shine + _reflections(rng, height, width)
    return np.asarray(rgb * light[..., None] + shine[..., None], np.float32)


def _saucer(
    rng: np.random.Generator,
    paint: FloatImage,
    middle: tuple[int, int],
    width: int,
    tilt: float,
    shine: bool,
) -> Sprite:
    wide = int(width * rng.uniform(1.3, 2.0))
    deep = max(8, int(wide * min(1.4, tilt * rng.uniform(0.8, 1.0))))
    x, y = coordinates(deep, wide)
    rings = np.sin(np.hypot(x, y) * rng.uniform(6, 16)) * rng.uniform(0, 25)
    drop = (ramp(rng, deep, wide) - 0.5) * rng.uniform(0, 80)
    dark = np.exp(-((x / 0.5) ** 2) - ((y - rng.uniform(0, 0.5)) / 0.5) ** 2) * rng.uniform(0, 0.7)
    surface = paint * (rng.uniform(0.7, 1.1) * (1 - dark))[..., None] + (rings + drop)[..., None]
    if shine:
        streaks = (noise(rng, deep, wide, rng.uniform(3, 9)) - rng.uniform(0.65, 0.9)).clip(0)
        rim = np.exp(-(((np.hypot(x, y) - 0.96) / 0.02) ** 2)) * rng.uniform(0, 90)
        surface = surface + (streaks * rng.uniform(0, 500) + rim)[..., None]
    corner = (middle[0] - wide // 2, middle[1] - deep // 2)
    return Sprite(surface.astype(np.float32), full_ellipse(deep, wide), *corner)


def _handle(rng: np.random.Generator, paint: FloatImage, box: tuple[int, int, int, int]) -> Sprite:
    """A ring beside the cup or a strap that hangs below its middle."""
    left, top, width, height = box
    tall, long = max(6, int(height * rng.uniform(0.35, 0.6))), max(6, int(width * 0.45))
    if rng.random() < 0.45:
        # Towards the one who looks: a strap, its end seen head-on.
        tall, wide = max(6, int(tall * 0.6)), max(6, int(long * rng.uniform(0.4, 0.7)))
        alpha = curve(rng, tall, wide) if rng.random() < 0.4 else superellipse(rng, tall, wide)
        corner = (
            left + int(width * rng.uniform(0, 0.7)),
            top + int(height * rng.uniform(0.65, 0.85)),
        )
    else:
        alpha = full_ellipse(tall, long)
        hole = full_ellipse(max(3, int(tall * 0.55)), max(3, int(long * 0.55)))
        y, x = (tall - hole.shape[0]) // 2, (long - hole.shape[1]) // 2
        alpha[y : y + hole.shape[0], x : x + hole.shape[1]] *= 1 - hole
        beside = left + width - int(long * 0.55) if rng.random() < 0.5 else left - int(long * 0.45)
        corner = (beside, top + int(height * rng.uniform(0.25, 0.5)))
    surface = np.broadcast_to(paint, (*alpha.shape, 3)) * np.float32(rng.uniform(0.6, 1.1))
    return Sprite(shade(rng, surface, alpha), alpha, *corner)


def _mouth(
    rng: np.random.Generator, paint: FloatImage, mouth: int, width: int, left: int, top: int
) -> list[Sprite]:
    """The rim with the inner wall, and the drink in it."""
    x, y = coordinates(mouth, width)
    wall = 1 + (ramp(rng, mouth, width) - 0.5) * rng.uniform(0, 0.6)
    rim = (np.hypot(x, y) > 1 - rng.uniform(0.04, 0.16)) * rng.uniform(-0.2, 0.4)
    rgb = paint * (wall + rim)[..., None]
    sprites = [Sprite(rgb.astype(np.float32), full_ellipse(mouth, width), left, top)]
    full = rng.uniform(0.55, 0.95)
    wide, deep = max(4, int(width * full)), max(4, int(mouth * full * rng.uniform(0.8, 1.0)))
    hue = np.array([rng.uniform(60, 230), rng.uniform(35, 150), rng.uniform(5, 80)], np.float32)
    swirl = (fractal(rng, deep, wide) - 0.4) * rng.uniform(0, 200)
    if rng.random() < 0.4:
        swirl = np.where(swirl > 15, rng.uniform(60, 130), swirl)
    drink = (hue if rng.random() < 0.7 else random_colour(rng)) + swirl[..., None]
    sink = int((mouth - deep) * rng.uniform(0.5, 0.9))
    corner = (left + (width - wide) // 2, top + sink)
    alpha = full_ellipse(deep, wide)
    start = corner[0] - left
    alpha = np.minimum(alpha, sprites[0].alpha[sink : sink + deep, start : start + wide])
    return [*sprites, Sprite(drink.astype(np.float32), alpha, *corner)]


def _spoon(rng: np.random.Generator, box: tuple[int, int, int, int]) -> Sprite:
    """Bright metal with dark reflections: a bowl at the end of a stem."""
    left, top, width, height = box
    tall, wide = max(10, int(height * rng.uniform(0.6, 1.1))), max(6, int(width * 0.35))
    alpha = np.zeros((tall, wide), np.float32)
    bowl = max(4, int(tall * rng.uniform(0.3, 0.45)))
    alpha[tall - bowl :] = full_ellipse(bowl, wide)
    stem, tip = max(2, wide // 6), int(rng.uniform(0.1, 0.8) * wide)
    for row in range(tall - bowl // 2):
        start = int(tip + (wide / 2 - tip) * row / tall)
        alpha[row, start : start + stem] = 1
    metal = 40 + fractal(rng, tall, wide) ** 2 * rng.uniform(120, 230)
    rgb = np.repeat(metal[..., None], 3, 2) * rng.uniform(0.9, 1.1, 3)
    corner = (left + int(width * rng.uniform(-0.2, 0.9)), top + int(height * rng.uniform(0.1, 0.6)))
    return Sprite(rgb.astype(np.float32), alpha, *corner)
