"""Requests that threads share, and what they are to get: what one caller gets."""

from __future__ import annotations

import numpy as np
import pytest

from sam2_block.backends.local.local_backend import LocalBackend
from sam2_block.prompts import LabeledPoint, Prompt

Request = tuple[np.ndarray, list[Prompt]]
Answer = list[tuple[float, int, int, np.ndarray]]


def mixed_requests(coins: np.ndarray, astronaut: np.ndarray, count: int) -> list[Request]:
    """Return requests about four images of several sizes, each with its own mixture of prompts."""
    images = [coins, astronaut, astronaut[::2, ::3], coins[40:200, 10:350]]
    made = []
    for index in range(count):
        image = images[index % len(images)]
        height, width = image.shape[:2]
        x, y = (index * 7) % (width - 40), (index * 11) % (height - 40)
        box = Prompt(box_xyxy=(x, y, x + 40.0, y + 30.0))
        point = Prompt(points=(LabeledPoint(x + 5, y + 5),))
        made.append((image, [box, point] if index % 2 else [point, box, box]))
    return made


def answer(backend: LocalBackend, request: Request) -> Answer:
    """Return score, corner and pixels of the mask of each prompt."""
    image, prompts = request
    found = backend.predict(image, prompts, version="demo", multimask_output=True)
    return [(a.score, a.mask().x, a.mask().y, a.mask().crop) for a in found]


def check_same(ours: Answer, theirs: Answer) -> None:
    """Assert that two answers are the same, up to what batches of other sizes round."""
    for (score, x, y, crop), (one_score, one_x, one_y, one_crop) in zip(ours, theirs, strict=True):
        assert score == pytest.approx(one_score, abs=1e-5)
        assert (x, y, crop.shape) == (one_x, one_y, one_crop.shape)
        assert (crop != one_crop).mean() < 1e-3
