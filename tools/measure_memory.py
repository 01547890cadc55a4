#!/usr/bin/env python3
"""Measure the working memory of segmenting many objects on a large image.

    tools/measure_memory.py --boxes 200 --width 4000 --height 3000
    tools/measure_memory.py --boxes 0 --objects 37 --points 1000

Prints, in MiB by the kernel's own count of resident memory (`/proc/self/status`, so Linux only):
the peak above what the loaded model takes, while the model runs (`model_peak`) and over the whole
call (`peak`); the returned masks; and the working memory, which is the larger peak without the
masks. Weights are random: their masks cover most of the image, the worst case.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import supervision as sv

from sam2_block.backends.local.local_backend import LocalBackend
from sam2_block.backends.local.models.model_registry import MODELS
from sam2_block.prompts import prompts_from_boxes, prompts_from_points
from sam2_block.segment_options import SegmentOptions
from sam2_block.segmentation import segment_image
from sam2_block.settings import LimitSettings, LocalSettings, OutputSettings
from sam2_block.versions import META_RELEASES

MIB = 1024**2

_WRITE_CHECKPOINT = """
import pathlib, sys, torch
from sam2_block.backends.local.models.model_loading import build_model, meta_config
from sam2_block.versions import META_RELEASES
version, folder = sys.argv[1:]
torch.manual_seed(0)
weights = {"model": build_model(meta_config(version)).state_dict()}
torch.save(weights, pathlib.Path(folder) / META_RELEASES[version].checkpoint_file)
"""


def measure(
    boxes: int,
    objects: int,
    points: int,
    width: int,
    height: int,
    version: str,
    dense_bytes: int,
) -> dict[str, float]:
    """Segment random boxes, and objects of random points, on a random image.

    Returns:
        The figures, in MiB.
    """
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (height, width, 3), dtype=np.uint8)
    size = np.array([width, height])
    corners = rng.uniform(0, 0.9, (boxes, 2)) * size
    clicks = (rng.uniform(0, 0.99, (objects, points, 2)) * size).tolist()
    xyxy = np.hstack([corners, corners + 0.08 * size]).astype(np.float32)
    detections = sv.Detections(xyxy=xyxy)
    with tempfile.TemporaryDirectory() as folder:
        # In a process of its own: what it frees would count as the model's.
        subprocess.run([sys.executable, "-c", _WRITE_CHECKPOINT, version, folder], check=True)
        backend = LocalBackend(LocalSettings(device="cpu", checkpoint_dir=Path(folder)))
        MODELS.get(version, backend.settings)
    options = SegmentOptions(version=version)
    ctypes.CDLL(None).malloc_trim(0)
    before = _resident("VmRSS")
    _restart_peak()
    image_hw = (height, width)
    prompts = [p for p in prompts_from_boxes(detections.xyxy, image_hw, "error") if p]
    prompts += prompts_from_points(clicks, image_hw)
    answers = backend.predict(image, prompts, version=version, multimask_output=True)
    model_peak = _resident("VmHWM") - before  # encoding and decoding: no mask is made yet
    del answers
    _restart_peak()
    segmented = segment_image(
        backend,
        image,
        detections,
        clicks,
        options,
        output=OutputSettings(dense_mask_bytes=dense_bytes),
        limits=LimitSettings(boxes + objects * points, points),
    )
    peak = _resident("VmHWM") - before
    masks = _bytes_of(segmented.mask)
    return {
        "model_peak": model_peak,
        "peak": peak,
        "returned_masks": masks,
        "working_memory": max(model_peak, peak - masks),
        "mask_coverage": float(segmented.area.mean()) / (width * height),
    }


def _restart_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _resident(field: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024 / MIB
    raise RuntimeError(f"/proc/self/status has no {field}")


def _bytes_of(masks: Any) -> float:
    """Return what the masks take; of a dense array, the pages that a set pixel filled in."""
    if not isinstance(masks, np.ndarray):
        return len(pickle.dumps(masks)) / MIB
    pages = masks.reshape(-1)[: masks.size // 4096 * 4096].reshape(-1, 4096)
    return float(pages.any(axis=1).sum()) * 4096 / MIB


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--boxes", type=int, default=200)
    parser.add_argument("--objects", type=int, default=0, help="objects given by points")
    parser.add_argument("--points", type=int, default=1, help="points of each such object")
    parser.add_argument("--width", type=int, default=4000)
    parser.add_argument("--height", type=int, default=3000)
    parser.add_argument("--version", default="hiera_tiny", choices=sorted(META_RELEASES))
    parser.add_argument(
        "--dense-mask-bytes",
        type=int,
        default=OutputSettings().dense_mask_bytes,
        help="as SAM2_BLOCK_DENSE_MASK_BYTES",
    )
    args = parser.parse_args()
    figures = measure(
        args.boxes,
        args.objects,
        args.points,
        args.width,
        args.height,
        args.version,
        args.dense_mask_bytes,
    )
    print(json.dumps({name: round(value, 2) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
