#!/usr/bin/env python3
"""Compare the demo checkpoint's masks in bfloat16 with those in single precision, on a CPU.

    tools/compare_precisions.py --prompts 500
    tools/compare_precisions.py --prompts 2000 --record  # into docs/precisions.json

Prints as JSON the mean and the least overlap (IoU) of the masks, the largest difference of a score,
and how often another of SAM 2's three masks was taken for the best, by boxes and single points on
the things of held-out scenes (`tools/demo_checkpoint`).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent / "demo_checkpoint"))

from benchmark.machine import commit
from evaluate import HELD_OUT_SEED, iou
from prompts import box_of
from scenes import make_scene
from scipy.ndimage import distance_transform_edt

from sam2_block.backends.local.backend import LocalBackend
from sam2_block.images import Image
from sam2_block.masks import BoolArray, CroppedMask
from sam2_block.prompts import LabeledPoint, Prompt
from sam2_block.settings import Settings

SIDE = 576
RECORD = Path(__file__).parents[1] / "docs" / "precisions.json"


def scenes() -> Iterator[tuple[Image, list[Prompt]]]:
    """Yield pictures, each with a box and a point for each of its things."""
    index = 0
    while True:
        scene = make_scene(np.random.default_rng([HELD_OUT_SEED, index]), SIDE, test=True)
        prompts = []
        for mask in scene.masks[:8]:
            left, top, right, bottom = (float(edge) for edge in box_of(mask))
            prompts.append(Prompt(box_xyxy=(left, top, right, bottom)))
            inside = distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
            y, x = np.unravel_index(inside.argmax(), inside.shape)
            prompts.append(Prompt(points=(LabeledPoint(float(x), float(y)),)))
        yield np.ascontiguousarray(scene.image[..., ::-1]), prompts
        index += 1


def compare(count: int) -> dict[str, float]:
    """Ask `count` prompts in both precisions and return the figures."""
    single, half = (LocalBackend(Settings(device="cpu", precision=p)) for p in ("fp32", "bf16"))
    overlaps: list[float] = []
    score_errors: list[float] = []
    for image, prompts in scenes():
        asked = prompts[: count - len(overlaps)]
        answers = [
            backend.predict(image, asked, version="demo", multimask_output=True)
            for backend in (single, half)
        ]
        for exact, close in zip(*answers, strict=True):
            one, other = (_drawn(answer.mask()) for answer in (exact, close))
            overlaps.append(iou(one, other) if one.any() or other.any() else 1.0)
            score_errors.append(abs(exact.score - close.score))
        if len(overlaps) >= count:
            break
    return {
        "prompts": len(overlaps),
        "mean_iou": round(float(np.mean(overlaps)), 5),
        "worst_iou": round(min(overlaps), 5),
        "below_0.95": sum(overlap < 0.95 for overlap in overlaps),
        "largest_score_difference": round(max(score_errors), 5),
    }


def _drawn(mask: CroppedMask) -> BoolArray:
    canvas = np.zeros((SIDE, SIDE), dtype=np.bool_)
    if not mask.is_empty:
        mask.paste_into(canvas)
    return canvas


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--prompts", type=int, default=500)
    parser.add_argument("--record", action="store_true", help=f"write {RECORD.name} as well")
    arguments = parser.parse_args()
    figures = compare(arguments.prompts)
    print(json.dumps(figures))
    if arguments.record:
        command = f"tools/compare_precisions.py --prompts {arguments.prompts} --record"
        record = {
            "date": date.today().isoformat(),
            "commit": commit(),
            "command": command,
            "figures": figures,
        }
        RECORD.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
