#!/usr/bin/env python3
"""Compare what masks cost as a dense array and held compactly.

    tools/compare_mask_arrays.py --objects 300 --width 3840 --height 2160

Prints a Markdown table: seconds to fill the masks in, to keep every other one, and to draw them
(the median of some runs), and MiB of the arrays. The objects are discs of 40 to 200 pixels.
"""

from __future__ import annotations

import argparse
import pickle
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import supervision as sv

from sam2_block.masks import CroppedMask
from sam2_block.masks.arrays import MaskArray
from sam2_block.settings import MaskForm

RUNS = 3


def discs(count: int, width: int, height: int) -> list[CroppedMask]:
    """Return discs at random places."""
    rng = np.random.default_rng(0)
    masks = []
    for _ in range(count):
        side = int(rng.integers(40, 200))
        y, x = np.mgrid[:side, :side] - (side - 1) / 2
        left, top = int(rng.integers(0, width - side)), int(rng.integers(0, height - side))
        masks.append(CroppedMask.from_region(np.hypot(x, y) < side / 2, left, top))
    return masks


def seconds(action: Callable[[], Any]) -> float:
    """Return the median time of an action."""
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def measure(masks: list[CroppedMask], image_hw: tuple[int, int], form: MaskForm) -> list[float]:
    """Return seconds to fill in, filter and draw, and MiB."""

    def fill() -> Any:
        array = MaskArray(len(masks), image_hw, 0, form)
        for mask in masks:
            array.append(mask)
        return array.get()

    held = fill()
    rows = sv.Detections(
        xyxy=np.array([mask.box_xyxy for mask in masks]),
        mask=held,
        class_id=np.arange(len(masks)),
    )
    picture = np.zeros((*image_hw, 3), np.uint8)
    size = held.nbytes if form == "dense" else len(pickle.dumps(held))
    return [
        seconds(fill),
        seconds(lambda: rows[np.arange(0, len(rows), 2)]),
        seconds(lambda: sv.MaskAnnotator().annotate(picture.copy(), rows)),
        size / 1024**2,
    ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--objects", type=int, default=300)
    parser.add_argument("--width", type=int, default=3840)
    parser.add_argument("--height", type=int, default=2160)
    args = parser.parse_args()
    masks = discs(args.objects, args.width, args.height)
    print("| masks | fill in, s | filter, s | draw, s | MiB |\n|---|--:|--:|--:|--:|")
    forms: tuple[MaskForm, ...] = ("dense", "compact")
    for form in forms:
        *times, size = measure(masks, (args.height, args.width), form)
        cells = [f"{value:.3g}" for value in (*times, size)]
        print(f"| {form} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
