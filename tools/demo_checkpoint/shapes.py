"""Outlines of objects, drawn into a box of a given size with smooth edges."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Alpha = NDArray[np.float32]
"""`(H, W)` coverage of each pixel, 0 to 1."""
Points = NDArray[np.float64]
"""`(N, 2)` x, y in -1 to 1."""

_SHIFT = 4


def fill(points: Points, height: int, width: int) -> Alpha:
    """Fills the polygon `points`, scaled to the box of `height` x `width` pixels."""
    canvas = np.zeros((height, width), np.uint8)
    scaled = (points + 1) / 2 * (width, height) - 0.5
    fixed = np.round(scaled * 2**_SHIFT).astype(np.int32)
    cv2.fillPoly(canvas, [fixed], 255, lineType=cv2.LINE_AA, shift=_SHIFT)
    return np.asarray(canvas / 255, np.float32)


def _to_box(points: Points, rng: np.random.Generator, turn: bool = True) -> Points:
    if turn:
        angle = rng.uniform(0, 2 * np.pi)
        cos, sin = np.cos(angle), np.sin(angle)
        points = points @ np.array([[cos, sin], [-sin, cos]])
    low, high = points.min(0), points.max(0)
    return np.asarray((points - low) / np.maximum(high - low, 1e-6) * 1.94 - 0.97, np.float64)


def _angles(count: int) -> NDArray[np.float64]:
    return np.asarray(np.arange(count) * (2 * np.pi / count), np.float64)


def ellipse(rng: np.random.Generator, height: int, width: int) -> Alpha:
    """The ellipse that fills the box, or a turned one that touches its sides."""
    angles = _angles(48)
    points = np.stack([np.cos(angles), np.sin(angles)], 1)
    if rng.random() < 0.4:
        points[:, 1] *= rng.uniform(0.35, 0.9)
        return fill(_to_box(points, rng), height, width)
    return fill(points * 0.97, height, width)


def full_ellipse(height: int, width: int) -> Alpha:
    """The upright ellipse that fills the box."""
    angles = _angles(64)
    return fill(np.stack([np.cos(angles), np.sin(angles)], 1), height, width)


def polygon(rng: np.random.Generator, height: int, width: int) -> Alpha:
    """An irregular polygon or a star."""
    count = int(rng.integers(3, 10))
    angles = _angles(count) + rng.uniform(-0.5, 0.5, count) * np.pi / count
    radius = rng.uniform(0.6, 1, count)
    if count >= 6 and rng.random() < 0.4:
        radius[::2] *= 0.45
    points = np.stack([np.cos(angles), np.sin(angles)], 1) * radius[:, None]
    return fill(_to_box(points, rng), height, width)


def blob(rng: np.random.Generator, height: int, width: int) -> Alpha:
    """A smooth closed curve with bays."""
    angles = _angles(72)
    radius = np.ones(72)
    for wave in range(2, 7):
        radius += rng.normal(0, 0.42 / wave) * np.cos(wave * angles + rng.uniform(0, 6.3))
    points = np.stack([np.cos(angles), np.sin(angles)], 1) * radius.clip(0.25, 2)[:, None]
    return fill(_to_box(points, rng), height, width)


def superellipse(rng: np.random.Generator, height: int, width: int) -> Alpha:
    """A box with more or less rounded corners, often turned, sometimes tapered."""
    angles, power = _angles(64), 2 / rng.uniform(3, 12)
    x, y = np.cos(angles), np.sin(angles)
    points = np.stack([np.sign(x) * np.abs(x) ** power, np.sign(y) * np.abs(y) ** power], 1)
    points[:, 0] *= 1 + rng.uniform(-0.35, 0.35) * points[:, 1]
    points[:, 1] *= rng.uniform(0.3, 1)
    return fill(_to_box(points, rng, turn=rng.random() < 0.5), height, width)


def ring(rng: np.random.Generator, height: int, width: int) -> Alpha:
    """A closed band with a hole."""
    outer = ellipse(rng, height, width) if rng.random() < 0.6 else superellipse(rng, height, width)
    distance = cv2.distanceTransform((outer > 0.5).astype(np.uint8), cv2.DIST_L2, 3)
    inset = float(distance.max()) * rng.uniform(0.25, 0.7)
    return np.asarray(outer * (1 - (distance - inset).clip(0, 1)), np.float32)


def curve(rng: np.random.Generator, height: int, width: int) -> Alpha:
    """A thick stroke: a bar, an arc or a snake."""
    start, sweep = rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 1.6) * np.pi
    angles = start + np.linspace(0, sweep, 24)
    points = np.stack([np.cos(angles), np.sin(angles)], 1)
    points += np.linspace(0, 1, 24)[:, None] * rng.normal(0, 0.6, 2)
    thick = max(1.5, min(height, width) * rng.uniform(0.05, 0.22))
    room = 1 - 1.1 * thick / np.array([width, height])
    scaled = (_to_box(points, rng) * room.clip(0.1, 1) + 1) / 2 * (width, height) - 0.5
    fixed = np.round(scaled * 2**_SHIFT).astype(np.int32)
    canvas = np.zeros((height, width), np.uint8)
    cv2.polylines(canvas, [fixed], False, 255, max(1, round(thick)), cv2.LINE_AA, _SHIFT)
    return np.asarray(canvas / 255, np.float32)


def union(rng: np.random.Generator, height: int, width: int) -> Alpha:
    """Several overlapping ellipses and boxes grown together."""
    canvas = np.zeros((height, width), np.float32)
    centre = np.array([0.5, 0.5])
    for _ in range(int(rng.integers(2, 6))):
        size = rng.uniform(0.3, 0.7, 2)
        corner = (centre - size / 2).clip(0, 1 - size)
        rows, columns = max(3, int(size[1] * height)), max(3, int(size[0] * width))
        part = ellipse(rng, rows, columns) if rng.random() < 0.7 else polygon(rng, rows, columns)
        top, left = int(corner[1] * (height - 1)), int(corner[0] * (width - 1))
        view = canvas[top : top + rows, left : left + columns]
        np.maximum(view, part[: view.shape[0], : view.shape[1]], out=view)
        centre = corner + size * rng.uniform(0.1, 0.9, 2)
    return canvas


SHAPES: tuple[tuple[Callable[[np.random.Generator, int, int], Alpha], float], ...] = (
    (ellipse, 0.24),
    (polygon, 0.13),
    (blob, 0.22),
    (superellipse, 0.17),
    (ring, 0.06),
    (curve, 0.07),
    (union, 0.11),
)


def random_shape(rng: np.random.Generator, height: int, width: int) -> Alpha:
    """Any of `SHAPES`, in a box of `height` x `width` pixels."""
    weights = np.array([weight for _, weight in SHAPES])
    draw = SHAPES[int(rng.choice(len(SHAPES), p=weights / weights.sum()))][0]
    return draw(rng, height, width)
