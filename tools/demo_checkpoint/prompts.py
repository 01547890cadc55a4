"""Prompts a person or a detector might give for the things in a scene."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from scenes import Scene

INSIDE, OUTSIDE, TOP_LEFT, BOTTOM_RIGHT, NOTHING = 1, 0, 2, 3, -1
"""Labels of points, as SAM 2's prompt encoder reads them."""

Mask = NDArray[np.bool_]
Point = tuple[float, float]


@dataclass(frozen=True)
class Prompts:
    """Prompts of one length, the same number for each picture, picture after picture.

    Attributes:
        coords: `(P, L, 2)` float32 x, y in pixels.
        labels: `(P, L)` int32, see the labels above.
        targets: `(P, S/4, S/4)` float32, the share of each cell that the wanted mask covers.
        certain: Whether a prompt has one answer only (not so for a single point).
    """

    coords: NDArray[np.float32]
    labels: NDArray[np.int32]
    targets: NDArray[np.float32]
    certain: bool


def box_of(mask: Mask) -> NDArray[np.float64]:
    """The box `(x1, y1, x2, y2)` around a mask in pixels, the far edges outside of it."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float64)


def meant_by_box(scene: Scene, index: int) -> int:
    """The mask that a box around mask `index` stands for: the largest that fills such a box.

    A box around someone's hair fits the whole head, and a detector means the head.
    """
    boxes = np.stack([box_of(mask) for mask in scene.masks])
    low = np.maximum(boxes[:, :2], boxes[index, :2])
    high = np.minimum(boxes[:, 2:], boxes[index, 2:])
    shared = (high - low).clip(0).prod(1)
    sizes = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    alike = shared / (sizes + sizes[index] - shared) > 0.8
    return int(np.argmax(np.where(alike, scene.masks.sum((1, 2)), 0)))


def jittered_box(rng: np.random.Generator, mask: Mask) -> list[Point]:
    """The two corners of a box as tight as people and detectors draw it."""
    box = box_of(mask)
    sides = np.tile(box[2:] - box[:2], 2)
    kind = rng.random()
    if kind < 0.1:
        box += sides * rng.uniform(0.03, 0.2, 4) * (-1, -1, 1, 1)
    elif kind < 0.85:
        box += sides * rng.uniform(-0.08, 0.08, 4) * rng.random()
    box = box.clip(0, mask.shape[0])
    return [(box[0], box[1]), (box[2], box[3])]


def inner_point(rng: np.random.Generator, mask: Mask) -> Point:
    """A pixel of the mask: anywhere off its edge, or well inside."""
    left, top, right, bottom = box_of(mask).astype(int)
    crop = np.pad(mask[top:bottom, left:right], 1).astype(np.uint8)
    depth = cv2.distanceTransform(crop, cv2.DIST_L2, 3)[1:-1, 1:-1]
    least = depth.max() * (rng.uniform(0.5, 0.9) if rng.random() < 0.5 else 0.15)
    rows, columns = np.nonzero(depth >= least)
    pick = int(rng.integers(len(rows)))
    return float(columns[pick] + left), float(rows[pick] + top)


def outer_point(rng: np.random.Generator, mask: Mask) -> Point:
    """A pixel off the mask, near it more often than not."""
    size = mask.shape[0]
    left, top, right, bottom = box_of(mask)
    margin = max(right - left, bottom - top) * 0.35 + 4
    low, high = (left - margin, top - margin), (right + margin, bottom + margin)
    if rng.random() < 0.25:
        low, high = (0, 0), (size, size)
    for _ in range(20):
        x, y = rng.uniform(low, high).clip(0, size - 1).astype(int)
        if not mask[y, x]:
            break
    return float(x), float(y)


def _several(rng: np.random.Generator, mask: Mask) -> tuple[list[Point], list[int]]:
    """A box with points, or two and more points."""
    points: list[Point] = []
    labels: list[int] = []
    boxed = rng.random() < 0.4
    if boxed:
        points, labels = jittered_box(rng, mask), [TOP_LEFT, BOTTOM_RIGHT]
    inside = int(rng.integers(0 if boxed else 1, 4))
    outside = int(rng.integers(0 if inside > 1 or boxed else 1, 3))
    points += [inner_point(rng, mask) for _ in range(inside)]
    points += [outer_point(rng, mask) for _ in range(outside)]
    return points, labels + [INSIDE] * inside + [OUTSIDE] * outside


def shrink(mask: Mask) -> NDArray[np.float32]:
    """The share of each 4x4 cell that is covered, `(S/4, S/4)` float32."""
    size = mask.shape[0] // 4
    small = cv2.resize(mask.astype(np.uint8) * 255, (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(small / 255, np.float32)


def make_prompts(rng: np.random.Generator, scenes: list[Scene], kind: str, count: int) -> Prompts:
    """Draws prompts for the scenes.

    Args:
        rng: The source of every choice.
        scenes: The scenes, all of one size.
        kind: `box`, `point` (one inside) or `several` (boxes with points, or points).
        count: Prompts for each scene.

    Returns:
        `len(scenes) * count` prompts, padded to one length, now and then further than needed.
    """
    rows: list[tuple[list[Point], list[int]]] = []
    targets = []
    for scene in scenes:
        order = rng.permutation(len(scene.masks))
        for turn in range(count):
            index = int(order[turn % len(order)])
            mask = scene.masks[meant_by_box(scene, index) if kind == "box" else index]
            targets.append(shrink(mask))
            if kind == "box":
                rows.append((jittered_box(rng, mask), [TOP_LEFT, BOTTOM_RIGHT]))
            elif kind == "point":
                rows.append(([inner_point(rng, mask)], [INSIDE]))
            else:
                rows.append(_several(rng, mask))
    length = max(len(labels) for _, labels in rows)
    if rng.random() < 0.3:
        length += int(rng.integers(1, 4))
    coords = np.zeros((len(rows), length, 2), np.float32)
    marks = np.full((len(rows), length), NOTHING, np.int32)
    for row, (points, labels) in enumerate(rows):
        coords[row, : len(points)] = points
        marks[row, : len(labels)] = labels
    return Prompts(coords, marks, np.stack(targets), kind != "point")


def correct(rng: np.random.Generator, prompts: Prompts, answers: NDArray[np.float32]) -> Prompts:
    """Adds to each prompt one point where its answer is wrong.

    Args:
        rng: The source of every choice.
        prompts: The prompts as given before.
        answers: `(P, S/4, S/4)` mask logits the model gave.

    Returns:
        The same prompts, one point longer.
    """
    extra = np.zeros((len(answers), 1, 2), np.float32)
    marks = np.full((len(answers), 1), INSIDE, np.int32)
    for row, (target, logits) in enumerate(zip(prompts.targets, answers, strict=True)):
        wanted = target > 0.5
        wrong = wanted != (logits > 0)
        if not wrong.any():
            wrong = wanted if wanted.any() else target >= target.max()
        depth = cv2.distanceTransform(wrong.astype(np.uint8), cv2.DIST_L2, 3)
        ys, xs = np.nonzero(depth >= depth.max() * rng.uniform(0.3, 1.0))
        pick = int(rng.integers(len(ys)))
        extra[row, 0] = xs[pick] * 4 + 2, ys[pick] * 4 + 2
        marks[row, 0] = INSIDE if wanted[ys[pick], xs[pick]] else OUTSIDE
    return Prompts(
        np.concatenate([prompts.coords, extra], 1),
        np.concatenate([prompts.labels, marks], 1),
        prompts.targets,
        True,
    )
