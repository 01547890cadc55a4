"""From things to a picture and its masks: layers, shadows, light, and what a camera adds."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from objects import Sprite, Thing
from shapes import random_shape
from textures import FloatImage, ramp

MIN_AREA = 0.0016
"""Things with less visible area, as a share of the picture, get no mask: at 576 a square of 23."""

MIN_VISIBLE = 0.5
"""Things of which less than this share shows behind others get no mask: nobody boxes them."""


def _window(sprite: Sprite, size: int) -> tuple[slice, slice, slice, slice] | None:
    """Rows and columns of the picture, then of the sprite, where the two overlap."""
    height, width = sprite.alpha.shape
    top, left = max(sprite.top, 0), max(sprite.left, 0)
    bottom, right = min(sprite.top + height, size), min(sprite.left + width, size)
    if bottom <= top or right <= left:
        return None
    return (
        slice(top, bottom),
        slice(left, right),
        slice(top - sprite.top, bottom - sprite.top),
        slice(left - sprite.left, right - sprite.left),
    )


def _cast_shadow(image: FloatImage, thing: Thing) -> None:
    """Darkens the ground beside the thing; the shadow belongs to no mask."""
    size = image.shape[0]
    shadow = np.zeros((size, size), np.float32)
    for sprite in thing.sprites:
        window = _window(sprite, size)
        if window is not None:
            rows, columns, own_rows, own_columns = window
            view = shadow[rows, columns]
            np.maximum(view, sprite.alpha[own_rows, own_columns], out=view)
    reach = max(2, int(0.08 * max(thing.sprites[-1].alpha.shape)))
    small = cv2.resize(shadow, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), max(0.6, reach / 6))
    soft = np.roll(cv2.resize(small, (size, size)), (reach, reach // 2), (0, 1))
    image *= (1 - soft * thing.shadow)[..., None]


def compose(ground: FloatImage, things: list[Thing]) -> tuple[FloatImage, NDArray[np.bool_]]:
    """Draw things onto a ground, the first one first.

    Args:
        ground: `(S, S, 3)`.
        things: What is to stand on it.

    Returns:
        The picture `(S, S, 3)`, and the visible part `(K, S, S)` of all that is worth a mask.
    """
    size = ground.shape[0]
    image = ground.copy()
    layers: list[Sprite] = []
    groups: list[list[int]] = []
    for thing in things:
        if thing.shadow:
            _cast_shadow(image, thing)
        groups += [[len(layers) + index for index in target] for target in thing.targets]
        for sprite in thing.sprites:
            layers.append(sprite)
            window = _window(sprite, size)
            if window is not None:
                rows, columns, own_rows, own_columns = window
                view = image[rows, columns]
                alpha = sprite.alpha[own_rows, own_columns, None]
                view += alpha * (sprite.rgb[own_rows, own_columns] - view)
    return image, _visible(layers, groups, size)


def _visible(layers: list[Sprite], groups: list[list[int]], size: int) -> NDArray[np.bool_]:
    """Return the visible part `(K, S, S)` of every group of layers that is worth a mask."""
    owner = np.full((size, size), -1, np.int16)
    outlines = [np.zeros((size, size), bool) for _ in layers]
    for index, sprite in enumerate(layers):
        window = _window(sprite, size)
        if window is not None:
            rows, columns, own_rows, own_columns = window
            inside = sprite.alpha[own_rows, own_columns] >= 0.5
            owner[rows, columns][inside] = index
            outlines[index][rows, columns] = inside
    masks = []
    for group in groups:
        mask = np.isin(owner, group)
        whole = np.any([outlines[index] for index in group], axis=0)
        if mask.sum() >= max(MIN_AREA * size * size, MIN_VISIBLE * whole.sum()):
            masks.append(mask)
    return np.array(masks, bool).reshape(-1, size, size)


def shadow_across(rng: np.random.Generator, size: int) -> FloatImage:
    """A shadow, or now and then a patch of light, that falls across things and ground alike."""
    height, width = (int(size * rng.uniform(0.15, 1.2)) for _ in range(2))
    shape = random_shape(rng, height, width)
    top, left = (int(rng.uniform(-0.5 * side, size - 0.5 * side)) for side in (height, width))
    reach = np.zeros((size, size), np.float32)
    window = _window(Sprite(np.zeros((1, 1, 3), np.float32), shape, left, top), size)
    if window is not None:
        rows, columns, own_rows, own_columns = window
        reach[rows, columns] = shape[own_rows, own_columns]
    reach = cv2.GaussianBlur(reach, (0, 0), size * float(np.exp(rng.uniform(-6, -2.8))))
    strength = rng.uniform(-0.5, -0.1) if rng.random() < 0.25 else rng.uniform(0.2, 0.75)
    return np.asarray(1 - reach * strength, np.float32)


def develop(rng: np.random.Generator, image: FloatImage) -> NDArray[np.uint8]:
    """Uneven light, grey pictures, blur, grain and contrast, as a camera would add them."""
    size = image.shape[0]
    if rng.random() < 0.3:
        light = 1 + (ramp(rng, size, size) - 0.5) * rng.uniform(0.2, 1.0)
        image = image * light[..., None]
    if rng.random() < 0.3:
        # A lamp's warm light, or a cold one: the balance of red and blue.
        tint = rng.uniform(-0.45, 0.25)
        image = image * np.array([1 - tint * 0.4, 1, 1 + tint], np.float32)
    if rng.random() < 0.18:
        image = np.repeat(image @ np.array([[0.299], [0.587], [0.114]], np.float32), 3, 2)
    if rng.random() < 0.3:
        middle = image.mean()
        image = (image - middle) * rng.uniform(0.45, 1.3) + middle + rng.uniform(-25, 25)
    image = cv2.GaussianBlur(image.clip(0, 255), (0, 0), rng.uniform(0.3, 1.3) * size / 256)
    if rng.random() < 0.7:
        image = image + rng.standard_normal(image.shape, dtype=np.float32) * rng.uniform(0, 10)
    return image.clip(0, 255).astype(np.uint8)
