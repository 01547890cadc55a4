"""Portraits: a face with its features, hair, neck and clothes."""

from __future__ import annotations

import cv2
import numpy as np

from objects import Photos, Sprite, Thing
from shapes import Alpha, blob, curve, ellipse, full_ellipse, superellipse
from textures import FloatImage, coordinates, fractal, noise, ramp, random_colour, texture


def _skin(rng: np.random.Generator) -> FloatImage:
    tone = rng.uniform(0.3, 1.1)
    return (
        (np.array([225, 172, 140]) * tone + rng.normal(0, 10, 3)).clip(20, 250).astype(np.float32)
    )


def _face(rng: np.random.Generator, height: int, width: int) -> FloatImage:
    """Skin with brows, eyes, nose and mouth, lit from one side, as `(H, W, 3)`."""
    skin = _skin(rng)
    rgb = np.broadcast_to(skin, (height, width, 3)) * np.float32(1)
    light = (ramp(rng, height, width) - 0.5) * rng.uniform(0.1, 0.9)
    rgb = np.ascontiguousarray(rgb * (1 + light)[..., None], np.float32)
    if rng.random() < 0.6:
        for _ in range(int(rng.integers(1, 4))):
            x, y = coordinates(height, width)
            across, down = rng.uniform(-0.7, 0.7), rng.uniform(-0.8, 0.6)
            spot = ((x - across) / 0.25) ** 2 + ((y - down) / 0.18) ** 2
            rgb += (np.exp(-spot) * rng.uniform(-25, 70))[..., None]
    turn, line = rng.uniform(-0.12, 0.12), rng.uniform(0.36, 0.5)
    dark = tuple(float(c) for c in skin * rng.uniform(0.15, 0.5))
    for side in (-1, 1):
        centre = (int(width * (0.5 + turn + side * rng.uniform(0.17, 0.22))), int(height * line))
        axes = (max(1, int(width * 0.09)), max(1, int(height * rng.uniform(0.02, 0.045))))
        if rng.random() < 0.5:
            cv2.ellipse(rgb, centre, axes, 0, 0, 360, (225.0, 220.0, 215.0), -1, cv2.LINE_AA)
        cv2.circle(rgb, centre, max(1, axes[1]), dark, -1, cv2.LINE_AA)
        brow = (centre[0], centre[1] - int(height * rng.uniform(0.05, 0.1)))
        thick = int(height * rng.uniform(0, 0.03))
        if thick:
            cv2.ellipse(rgb, brow, (axes[0] + 1, axes[1]), 0, 180, 360, dark, thick)
    nose = (int(width * (0.5 + turn * 1.3)), int(height * (line + 0.18)))
    cv2.ellipse(rgb, nose, (max(1, width // 14), max(1, height // 22)), 0, 0, 180, dark, 1)
    mouth = (int(width * (0.5 + turn)), int(height * rng.uniform(0.7, 0.8)))
    lips = (skin * np.array([0.85, 0.5, 0.5])).tolist()
    axes = (int(width * rng.uniform(0.1, 0.22)), max(1, int(height * rng.uniform(0.02, 0.06))))
    cv2.ellipse(rgb, mouth, axes, 0, 0, 360, lips, -1, cv2.LINE_AA)
    if rng.random() < 0.4:
        cv2.ellipse(
            rgb, mouth, (axes[0], max(1, axes[1] // 2)), 0, 0, 360, (240, 235, 230), -1, cv2.LINE_AA
        )
    soft = cv2.GaussianBlur(rgb, (0, 0), max(0.5, height / 90))
    return np.asarray(soft + (noise(rng, height, width, 9)[..., None] - 0.5) * 14, np.float32)


def portrait(rng: np.random.Generator, box: tuple[int, int, int, int], photos: Photos) -> Thing:
    """A person from the chest up: body, neck, hair, face.

    Args:
        rng: The source of every choice.
        box: Left, top, width and height in pixels of the face alone.
        photos: Photos to crop clothes from.
    """
    left, top, width, height = box
    wide, tall = int(width * rng.uniform(2.0, 3.4)), int(height * rng.uniform(1.6, 2.6))
    body = _shoulders(rng, tall, wide)
    clothes = texture(rng, tall, wide, photos, photo_share=0.2)
    if rng.random() < 0.6:
        for _ in range(int(rng.integers(1, 5))):
            rows, columns = max(4, tall // 5), max(4, wide // 6)
            mark = curve(rng, rows, columns) if rng.random() < 0.5 else ellipse(rng, rows, columns)
            y, x = int(rng.integers(tall - rows)), int(rng.integers(wide - columns))
            view = clothes[y : y + rows, x : x + columns]
            view += mark[..., None] * (random_colour(rng) - view)
    body_left = left + (width - wide) // 2 + int(width * rng.uniform(-0.2, 0.2))
    body_top = top + int(height * rng.uniform(0.95, 1.15))
    neck_wide, neck_tall = max(4, int(width * rng.uniform(0.4, 0.6))), max(4, int(height * 0.5))
    face = _face(rng, height, width)
    skin = face.reshape(-1, 3).mean(0) * np.float32(rng.uniform(0.65, 0.95))
    neck = np.broadcast_to(skin, (neck_tall, neck_wide, 3)).astype(np.float32)
    hair_wide, hair_tall = int(width * rng.uniform(1.15, 1.8)), int(height * rng.uniform(1.0, 1.7))
    hair_alpha = blob(rng, hair_tall, hair_wide)
    hair_alpha = np.maximum(hair_alpha, full_ellipse(hair_tall, hair_wide))
    hair = _hair(rng, hair_tall, hair_wide, skin)
    oval = full_ellipse(height, width)
    if rng.random() < 0.5:
        jaw = superellipse(rng, height, width)
        oval = np.maximum(oval, jaw * (coordinates(height, width)[1] < 0.3) * (oval > 0))
    hair_left = left + (width - hair_wide) // 2 + int(width * rng.uniform(-0.08, 0.08))
    visible = oval * _hairline(rng, height, width)
    if rng.random() < 0.3:
        visible = _with_ears(rng, visible)
    sprites = (
        Sprite(hair, hair_alpha, hair_left, top - int(height * rng.uniform(0.12, 0.35))),
        Sprite(clothes, body, body_left, body_top),
        Sprite(
            neck,
            np.ones((neck_tall, neck_wide), np.float32),
            left + (width - neck_wide) // 2,
            top + int(height * 0.75),
        ),
        Sprite(face, visible.astype(np.float32), left, top),
    )
    return Thing(sprites, ((3,), (0, 3), (0, 1, 2, 3), (1,), (0,)), 0.0)


def _hair(rng: np.random.Generator, height: int, width: int, skin: FloatImage) -> FloatImage:
    """Strands that fall from a crown, dark or of any colour, or not far from the skin's."""
    kind = rng.random()
    if kind < 0.5:
        colour = random_colour(rng) * 0.5
    elif kind < 0.8:
        colour = skin * np.array([0.8, 0.75, 0.6]) * rng.uniform(0.35, 1.0)
    else:
        colour = random_colour(rng)
    tone = (fractal(rng, height, width) - 0.5) * rng.uniform(20, 90)
    if rng.random() < 0.7:
        x, y = coordinates(height, width)
        angle = np.arctan2(y - rng.uniform(-1.2, -0.5), x - rng.uniform(-0.5, 0.5))
        angle = angle + (fractal(rng, height, width) - 0.5) * rng.uniform(0, 0.6)
        profile = cv2.resize(rng.random((1, 90), dtype=np.float32), (720, 1)).ravel()
        strands = profile[((angle + np.pi) / (2 * np.pi) * 719).astype(np.int32) % 720] - 0.5
        tone = tone + strands * rng.uniform(20, 110)
    return np.asarray(colour + tone[..., None], np.float32)


def _hairline(rng: np.random.Generator, height: int, width: int) -> Alpha:
    """Where hair leaves the face free, `(H, W)`: below a slanted, ragged fringe, and inside it."""
    x, y = coordinates(height, width)
    if rng.random() < 0.4:
        return np.ones((height, width), np.float32)
    low = rng.uniform(0, 0.75) - 1
    edge = low + x * rng.normal(0, 0.2) + x**2 * rng.uniform(-0.3, 0.3)
    ragged = cv2.resize(rng.random((1, int(rng.integers(4, 24))), dtype=np.float32), (width, 1))
    edge = edge + (ragged - 0.5) * rng.uniform(0, 0.25)
    free = ((y - edge) * height / 3).clip(0, 1)
    if rng.random() < 0.4:
        for side in (-1, 1):
            sides = rng.uniform(0.7, 1.0) + (y - 0.2).clip(0) * rng.uniform(0, 0.5)
            free = free * ((sides - side * x) * width / 3).clip(0, 1)
    return np.asarray(free, np.float32)


def _with_ears(rng: np.random.Generator, face: Alpha) -> Alpha:
    """Adds an ear at one side or both, as far as the face's box has room for it."""
    height, width = face.shape
    tall, wide = max(3, int(height * rng.uniform(0.15, 0.25))), max(3, int(width * 0.14))
    top = int(height * rng.uniform(0.35, 0.5))
    result = np.array(face)
    ear = full_ellipse(tall, wide)
    for start in (0, width - wide):
        view = result[top : top + tall, start : start + wide]
        if rng.random() < 0.8:
            np.maximum(view, ear, out=view)
    return result


def _shoulders(rng: np.random.Generator, height: int, width: int) -> Alpha:
    x, y = coordinates(height, width)
    reach = 0.25 + 0.75 * (((y + 1) / 2) / rng.uniform(0.25, 0.7)).clip(0, 1) ** 0.5
    return np.asarray(((reach - np.abs(x)) * width / 4).clip(0, 1), np.float32)
