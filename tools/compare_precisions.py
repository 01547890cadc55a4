#!/usr/bin/env python3
"""Compare masks in bfloat16 with those in single precision, on a CPU.

    tools/compare_precisions.py --prompts 500
    tools/compare_precisions.py --prompts 3000 --kinds scenes noise grey thin --sides 64 256 900

Prints as JSON, for pictures of each kind and side and for all, the mean and the least overlap (IoU)
of the masks and the largest difference of a score, by boxes and single points. `scenes` are drawn
and held out of the training (`tools/demo_checkpoint`); `noise` and `grey` are these, spoilt; `thin`
are lines; the demo checkpoint answers. `random` are scenes to `hiera_tiny` with random weights.
With `--record` the figures go into `docs/precisions.json`.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shlex
import sys
import tempfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent / "demo_checkpoint"))

from benchmark.machine import commit
from benchmark.weights import write_random_weights
from evaluate import HELD_OUT_SEED, iou
from prompts import box_of
from scenes import make_scene
from scipy.ndimage import distance_transform_edt

from sam2_block.backends.local.local_backend import LocalBackend
from sam2_block.images import Image
from sam2_block.masks import BoolArray, CroppedMask
from sam2_block.prompts import LabeledPoint, Prompt
from sam2_block.settings import LocalSettings

KINDS = ("scenes", "noise", "grey", "thin", "random")
RECORD = Path(__file__).parents[1] / "docs" / "precisions.json"


def pictures(kind: str, side: int) -> Iterator[tuple[Image, list[Prompt]]]:
    """Yield square pictures of a kind, each with a box and a point for each of its things."""
    for index in itertools.count():
        rng = np.random.default_rng([HELD_OUT_SEED, index])
        scene = make_scene(rng, side, test=True)
        image, masks = np.ascontiguousarray(scene.image[..., ::-1]), list(scene.masks[:8])
        if kind == "noise":
            image = np.clip(image + rng.normal(0, 30, image.shape), 0, 255).astype(np.uint8)
        elif kind == "grey":
            image = np.repeat(image.mean(2, keepdims=True).astype(np.uint8), 3, 2)
        elif kind == "thin":
            masks = [_line(image, rng) for _ in range(6)]
        yield image, [prompt for mask in masks for prompt in _prompts(mask)]


def _line(image: Image, rng: np.random.Generator) -> BoolArray:
    """Draw a line of one to four pixels' width into the picture, and return its mask."""
    side = len(image)
    start, end = ([int(edge) for edge in rng.integers(0, side, 2)] for _ in range(2))
    width, colour = int(rng.integers(1, 5)), [int(level) for level in rng.integers(0, 256, 3)]
    canvas = np.zeros((side, side), np.uint8)
    cv2.line(canvas, start, end, 1, width)
    image[canvas == 1] = colour
    return canvas.astype(np.bool_)


def _prompts(mask: BoolArray) -> list[Prompt]:
    """Return a mask's box, and a point in its inmost pixel."""
    left, top, right, bottom = (float(edge) for edge in box_of(mask))
    inside = distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    y, x = np.unravel_index(inside.argmax(), inside.shape)
    return [
        Prompt(box_xyxy=(left, top, right, bottom)),
        Prompt(points=(LabeledPoint(float(x), float(y)),)),
    ]


def compare(count: int, kinds: list[str], sides: list[int]) -> dict[str, dict[str, float]]:
    """Return the figures of `count` prompts in both precisions, an equal part for each group."""
    groups = list(itertools.product(kinds, sides))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "random" in kinds:
            write_random_weights(folder)
        differences = {
            f"{kind} {side}": _differences(count // len(groups), kind, side, folder)
            for kind, side in groups
        }
    everything = [difference for group in differences.values() for difference in group]
    return {name: _figures(group) for name, group in {**differences, "all": everything}.items()}


def _differences(count: int, kind: str, side: int, folder: Path) -> list[tuple[float, float]]:
    """Return the overlap of each prompt's masks, and the difference of their scores."""
    backends = [
        LocalBackend(LocalSettings(device="cpu", precision=precision, checkpoint_dir=folder))
        for precision in ("fp32", "bf16")
    ]
    version = "hiera_tiny" if kind == "random" else "demo"
    differences: list[tuple[float, float]] = []
    for image, prompts in pictures(kind, side):
        wanted = prompts[: count - len(differences)]
        answers = [
            backend.predict(image, wanted, version=version, multimask_output=True)
            for backend in backends
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
    parser.add_argument("--kinds", nargs="+", default=["scenes"], choices=KINDS)
    parser.add_argument("--sides", type=int, nargs="+", default=[576], help="of the pictures")
    parser.add_argument("--record", action="store_true", help=f"write {RECORD.name} as well")
    arguments = parser.parse_args()
    figures = compare(arguments.prompts, arguments.kinds, arguments.sides)
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
