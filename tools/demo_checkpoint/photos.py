"""Photos that never feed the training, with outlines drawn by hand or, for coins, by threshold."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage import data

_FACE = (
    "184,100 182,120 182,140 185,155 188,165 196,171 206,177 222,179 238,176 250,168 258,155 "
    "264,142 268,130 270,112 269,98 258,88 240,83 220,80 200,76 188,77"
)
_CUP = (
    "173,108 178,82 196,54 225,32 258,20 290,18 325,24 360,40 388,66 404,95 407,120 400,165 "
    "388,205 372,232 345,245 322,258 316,278 290,285 262,280 248,268 236,282 222,304 210,305 "
    "199,297 197,284 205,264 216,244 222,234 203,218 188,196 178,164"
)
_HEAD = (
    "38,0 32,30 30,80 38,120 45,150 60,185 90,220 130,250 160,265 205,275 230,290 262,285 295,270 "
    "312,240 318,215 340,195 355,165 362,130 358,90 358,72 375,50 400,5 402,0"
)
_EYE = "138,110 144,95 158,86 175,87 192,95 201,108 203,124 194,139 180,145 162,142 147,132 140,122"


@dataclass(frozen=True)
class Example:
    """A photo and what is to be found in it.

    Attributes:
        name: Which photo and thing.
        image: `(H, W, 3)` uint8 RGB.
        masks: `(K, H, W)` bool.
    """

    name: str
    image: NDArray[np.uint8]
    masks: NDArray[np.bool_]


def _outline(image: NDArray[np.uint8], text: str) -> NDArray[np.bool_]:
    points = np.array([[int(n) for n in pair.split(",")] for pair in text.split()], np.int32)
    canvas = np.zeros(image.shape[:2], np.uint8)
    cv2.fillPoly(canvas, [points], 1)
    return canvas.astype(bool)[None]


def _coins() -> Example:
    """Every coin of scikit-image's `coins`, found by brightness above the uneven ground."""
    grey = data.coins()
    ground = cv2.GaussianBlur(grey, (0, 0), 1).astype(np.float32)
    local = cv2.GaussianBlur(ground, (0, 0), 45)
    bright = ndimage.binary_closing(ground > local * 0.5 + 62, np.ones((5, 5)))
    bright = ndimage.binary_fill_holes(bright)
    labels, count = ndimage.label(ndimage.binary_opening(bright, np.ones((9, 9))))
    masks = [labels == index for index in range(1, count + 1)]
    kept = [mask for mask in masks if 700 < mask.sum() < 4500 and not mask[:5].any()]
    return Example("coins", np.repeat(grey[..., None], 3, 2), np.array(kept))


def examples() -> list[Example]:
    """The photos on which the finished model is measured."""
    astronaut, coffee, chelsea = data.astronaut(), data.coffee(), data.chelsea()
    return [
        _coins(),
        Example("astronaut, face", astronaut, _outline(astronaut, _FACE)),
        Example("coffee, cup", coffee, _outline(coffee, _CUP)),
        Example("chelsea, head", chelsea, _outline(chelsea, _HEAD)),
        Example("chelsea, eye", chelsea, _outline(chelsea, _EYE)),
    ]
