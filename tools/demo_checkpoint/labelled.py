"""Things in two of the training photos, with outlines drawn by hand: people as cameras see them."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from objects import Sprite, Thing
from textures import FloatImage, load_photo

_HAT = (
    "152,180 151,130 155,105 165,97 178,85 172,82 180,65 195,50 217,41 222,30 250,23 280,25 300,40 "
    "320,47 340,60 353,85 363,87 370,100 371,130 369,170 366,180 356,160 343,150 320,139 290,133 "
    "250,131 215,134 195,140 180,148 165,160 158,170"
)
_FACE = (
    "193,140 215,134 250,131 290,133 320,139 345,152 350,160 352,175 355,187 368,183 376,190 "
    "373,215 366,240 355,265 345,270 340,280 333,295 328,305 322,318 305,328 285,334 255,333 "
    "230,325 210,312 200,300 197,290 195,275 190,265 183,272 172,262 165,240 158,210 154,190 "
    "160,187 172,190 178,180 180,165 183,150"
)
_HAIR = (
    "152,180 158,170 165,160 180,148 193,140 366,180 369,185 366,245 360,275 348,298 335,306 "
    "322,318 210,312 200,298 180,290 165,280 160,240 154,205"
)
_NECK = (
    "210,312 230,325 255,333 285,334 305,328 322,318 330,325 318,360 300,385 280,405 248,408 "
    "228,400 210,375 200,350 200,318"
)
_COAT = (
    "10,600 28,440 45,390 60,378 100,362 150,352 180,340 200,318 200,350 210,375 228,400 248,408 "
    "280,405 300,385 318,360 330,325 336,315 360,335 400,357 450,375 485,390 495,400 512,445 "
    "512,600"
)
_TAG = "78,510 82,484 155,490 168,505 167,517"
_RIBBONS = "322,525 350,502 365,501 365,489 409,489 409,500 452,503 452,525"

_MAN = (
    "0,250 20,232 45,198 60,165 72,145 95,130 130,123 140,115 152,105 161,105 164,95 172,85 185,70 "
    "200,64 215,65 235,72 250,85 265,103 270,118 266,131 256,133 252,145 254,165 251,172 246,178 "
    "246,184 240,192 242,205 241,218 246,235 248,247 262,235 264,212 280,203 288,215 288,282 "
    "265,305 247,312 225,307 207,296 190,320 165,350 142,382 146,410 150,450 150,512 145,512 "
    "135,490 115,465 100,448 96,470 90,512 0,512"
)
_HIS_HEAD = (
    "160,130 161,105 164,95 172,85 185,70 200,64 215,65 235,72 250,85 265,103 270,118 266,131 "
    "256,133 252,145 254,165 251,172 246,178 246,184 240,192 230,197 215,193 203,187 192,172 "
    "180,160 165,150"
)
_HIS_FACE = (
    "203,140 220,130 245,131 251,142 254,165 251,172 246,178 246,184 240,192 230,197 215,193 "
    "203,187 194,170 197,152"
)
_CAMERA = (
    "253,142 262,140 280,141 310,140 325,139 325,151 320,155 320,181 300,183 285,185 270,178 "
    "260,175 260,155"
)

_PHOTOS = (
    (
        "matplotlib/mpl-data/sample_data/grace_hopper.jpg",
        (_HAIR, _FACE, _HAT, _NECK, _COAT, _TAG, _RIBBONS),
        ((1,), (1,), (0, 1, 2), (0, 1, 2, 3, 4, 5, 6), (4, 5, 6), (2,), (5,), (6,)),
    ),
    (
        "skimage/data/camera.png",
        (_MAN, _HIS_HEAD, _HIS_FACE, _CAMERA),
        ((2,), (1, 2), (0, 1, 2), (3,)),
    ),
)
"""Photo, outlines from back to front, and the sets of them that make a thing.

One face is named twice, to be prompted more often.
"""


@cache
def _read(index: int) -> tuple[NDArray[np.uint8], tuple[NDArray[np.uint8], ...]]:
    name, outlines, _ = _PHOTOS[index]
    photo = load_photo(name)
    masks = []
    for text in outlines:
        points = np.array([[int(n) for n in pair.split(",")] for pair in text.split()], np.int32)
        mask = np.zeros(photo.shape[:2], np.uint8)
        masks.append(cv2.fillPoly(mask, [points], 255))
    return photo, tuple(masks)


def labelled_photo(
    rng: np.random.Generator, size: int, ground: FloatImage
) -> tuple[FloatImage, Thing]:
    """A photo, or a part of it, turned, squashed, mirrored and tinted, and what is in it.

    Args:
        rng: The source of every choice.
        size: Side of the square picture in pixels.
        ground: `(S, S, 3)`, what shows where the photo ends.

    Returns:
        The picture `(S, S, 3)`, and its parts as sprites that are cut from it where they are.
    """
    index = 0 if rng.random() < 0.7 else 1
    photo, outlines = _read(index)
    height, width = photo.shape[:2]
    zoom = size / width * np.exp(rng.uniform(-0.5, 0.6))
    stretch = np.exp(rng.uniform(-0.2, 0.2))
    angle = rng.normal(0, 0.12)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = turn @ np.diag([zoom * stretch * rng.choice([-1, 1]), zoom / stretch])
    # What is looked at lies somewhere in the upper middle of both photos.
    eye = np.array([width, height]) * rng.uniform((0.3, 0.2), (0.7, 0.6))
    goal = size * rng.uniform(0.3, 0.7, 2)
    warp = np.concatenate([matrix, (goal - matrix @ eye)[:, None]], 1)
    image = cv2.warpAffine(photo, warp, (size, size)).astype(np.float32)
    if rng.random() < 0.3:
        image = image[..., rng.permutation(3)]
    if rng.random() < 0.5:
        image = image * rng.uniform(0.6, 1.3, 3) + rng.uniform(-30, 30, 3)
    covered = cv2.warpAffine(np.full((height, width), 255, np.uint8), warp, (size, size)) / 255
    image = ground + covered[..., None] * (image.clip(0, 255) - ground)
    image = np.ascontiguousarray(image, np.float32)
    sprites = tuple(
        Sprite(image, np.asarray(cv2.warpAffine(o, warp, (size, size)) / 255, np.float32), 0, 0)
        for o in outlines
    )
    return image, Thing(sprites, _PHOTOS[index][2])
