#!/usr/bin/env python3
"""Compare the demo checkpoint's masks in bfloat16 with those in single precision, on a CPU.

    tools/compare_precisions.py --prompts 500
    tools/compare_precisions.py --prompts 2000 --sides 64 128 256 576 896 --record

Prints as JSON, for pictures of each side and for all, the mean and the least overlap (IoU) of the
masks and the largest difference of a score, by boxes and single points on the things of held-out
scenes (`tools/demo_checkpoint`). With `--record` the figures go into `docs/precisions.json`.
"""

from __future__ import annotations

import argparse
import json
import shlex
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

RECORD = Path(__file__).parents[1] / "docs" / "precisions.json"


def scenes(side: int) -> Iterator[tuple[Image, list[Prompt]]]:
    """Yield square pictures, each with a box and a point for each of its things."""
    index = 0
    while True:
        scene = make_scene(np.random.default_rng([HELD_OUT_SEED, index]), side, test=True)
        prompts = []
        for mask in scene.masks[:8]:
            left, top, right, bottom = (float(edge) for edge in box_of(mask))
            prompts.append(Prompt(box_xyxy=(left, top, right, bottom)))
            inside = distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
            y, x = np.unravel_index(inside.argmax(), inside.shape)
            prompts.append(Prompt(points=(LabeledPoint(float(x), float(y)),)))
        yield np.ascontiguousarray(scene.image[..., ::-1]), prompts
        index += 1


def compare(count: int, sides: list[int]) -> dict[str, dict[str, float]]:
    """Return the figures of `count` prompts in both precisions, an equal part for each side."""
    differences = {str(side): _differences(count // len(sides), side) for side in sides}
    everything = [difference for of_side in differences.values() for difference in of_side]
    return {name: _figures(of_side) for name, of_side in {**differences, "all": everything}.items()}


def _differences(count: int, side: int) -> list[tuple[float, float]]:
    """Return the overlap of each prompt's masks, and the difference of their scores."""
    single, half = (LocalBackend(Settings(device="cpu", precision=p)) for p in ("fp32", "bf16"))
    differences: list[tuple[float, float]] = []
    for image, prompts in scenes(side):
        wanted = prompts[: count - len(differences)]
        answers = [
            backend.predict(image, wanted, version="demo", multimask_output=True)
            for backend in (single, half)
        ]
        for exact, close in zip(*answers, strict=True):
            one, other = (_drawn(answer.mask(), side) for answer in (exact, close))
            overlap = iou(one, other) if one.any() or other.any() else 1.0
            differences.append((overlap, abs(exact.score - close.score)))
        if len(differences) >= count:
            break
    return differences


def _figures(differences: list[tuple[float, float]]) -> dict[str, float]:
    overlaps, score_errors = zip(*differences, strict=True)
    return {
        "prompts": len(overlaps),
        "mean_iou": round(float(np.mean(overlaps)), 5),
        "worst_iou": round(min(overlaps), 5),
        "below_0.95": sum(overlap < 0.95 for overlap in overlaps),
        "largest_score_difference": round(max(score_errors), 5),
    }


def _drawn(mask: CroppedMask, side: int) -> BoolArray:
    canvas = np.zeros((side, side), dtype=np.bool_)
    if not mask.is_empty:
        mask.paste_into(canvas)
    return canvas


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--prompts", type=int, default=500)
    parser.add_argument("--sides", type=int, nargs="+", default=[576], help="of the pictures")
    parser.add_argument("--record", action="store_true", help=f"write {RECORD.name} as well")
    arguments = parser.parse_args()
    figures = compare(arguments.prompts, arguments.sides)
    print(json.dumps(figures))
    if arguments.record:
        command = shlex.join(["tools/compare_precisions.py", *sys.argv[1:]])
        record = {
            "date": date.today().isoformat(),
            "commit": commit(),
            "command": command,
            "figures": figures,
        }
        RECORD.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
