"""What the parent asks of a worker, and what it answers; both travel over a pipe."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

BUILT_IN, META_FP32, OURS_FP32 = "built-in-fp32", "meta-fp32", "ours-fp32"
META_BF16, OURS_BF16 = "meta-bf16", "ours-bf16"
SYSTEMS = (BUILT_IN, META_FP32, OURS_FP32, META_BF16, OURS_BF16)
"""The columns of the table, and what a worker can be: an implementation in a precision.

The built-in block computes in fp32 on a CPU and has no other choice.
"""

METAS_AND_OURS = {"fp32": (META_FP32, OURS_FP32), "bf16": (META_BF16, OURS_BF16)}
"""Meta's predictor and this block in the same precision."""

DEFAULT = OURS_FP32
"""What this block computes in on a CPU unless `SAM2_BLOCK_PRECISION` says otherwise."""

LABELS = {
    BUILT_IN: "built-in block, fp32",
    META_FP32: "Meta's predictor, fp32",
    OURS_FP32: "this block, fp32",
    META_BF16: "Meta's predictor, bf16 autocast",
    OURS_BF16: "this block, bf16",
}


def precision_of(system: str) -> str:
    """Return `fp32` or `bf16`."""
    return system.rpartition("-")[2]


@dataclass(frozen=True)
class Job:
    """Some images with boxes, timed once.

    Attributes:
        width: Of every image, in pixels.
        height: Of every image.
        boxes: Boxes on every image.
        seed: Of the images: two jobs have the same images if all of these figures are the same.
        turn: With the seed, tells the boxes.
        images: Images in one request.
        encoded: The images have been segmented with another box before the clock starts.
        callers: Threads that ask at the same time, each about images of its own.
        requests: Requests of each caller, one after the other.
        counted: Memory is counted; freed memory is given back to the system before the clock
            starts, to be asked for again, which costs a short job some milliseconds.
    """

    width: int
    height: int
    boxes: int
    seed: tuple[int, ...] = (0,)
    turn: int = 0
    images: int = 1
    encoded: bool = False
    callers: int = 1
    requests: int = 1
    counted: bool = True


@dataclass(frozen=True)
class Roofline:
    """Asks our worker for the machine's limit, and how near encoder and decoder come to it."""


@dataclass(frozen=True)
class Answer:
    """What one job took.

    Attributes:
        seconds: By the wall clock, for all requests.
        added_bytes: Most resident memory during the job, above that before it; 0 if not counted.
        rows: Rows of detections that came out.
        area: Pixels set in all masks together.
    """

    seconds: float
    added_bytes: int
    rows: int
    area: int


@dataclass(frozen=True)
class Facts:
    """Figures by name: what a worker says of itself, or the outcome of `Roofline`."""

    values: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Failure:
    """A job that has no answer, and why."""

    why: str
