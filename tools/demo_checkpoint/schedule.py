"""How long to train at which picture size, and how fast."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Phase:
    """A stretch of training at one picture size; `images` a step and process."""

    size: int
    images: int
    steps: int


def parse_phases(text: str) -> list[Phase]:
    """Reads `SIZE:IMAGES:STEPS,...`."""
    return [Phase(*(int(number) for number in part.split(":"))) for part in text.split(",")]


def warm_cosine(step: int, total: int, warm: int) -> float:
    """The share of the peak learning rate at a step: up in `warm` steps, then down to 0."""
    if step < warm:
        return step / warm
    return 0.5 + 0.5 * math.cos(math.pi * (step - warm) / max(1, total - warm))
