"""Mask quality on held-out scenes: other seeds, other photos."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from model import decode, encode
from prompts import Mask, make_prompts, meant_by_box
from scenes import make_scene

HELD_OUT_SEED = 2_000_000_000
"""First word of the seed of every held-out scene; training never uses it."""


def iou(found: Mask, wanted: Mask) -> float:
    """Overlap of two masks, 0 to 1."""
    return float((found & wanted).sum() / max(1, (found | wanted).sum()))


@torch.no_grad()
def answer(
    model: Any, image: NDArray[np.uint8], coords: NDArray[np.float32], labels: NDArray[np.int32]
) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Answers prompts on one picture of the model's size.

    Args:
        model: The `SAM2Base`.
        image: `(S, S, 3)` uint8 RGB.
        coords: `(P, L, 2)` x, y in pixels.
        labels: `(P, L)`.

    Returns:
        `(P, 4, S, S)` masks, the single answer first, and `(P, 4)` predicted IoU.
    """
    device = model.no_mem_embed.device
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None]
    features = encode(model, pixels).repeat(len(coords))
    logits, scores = decode(
        model, features, torch.from_numpy(coords).to(device), torch.from_numpy(labels).to(device)
    )
    full = functional.interpolate(logits, image.shape[:2], mode="bilinear", align_corners=False)
    return (full > 0).cpu().numpy(), scores.cpu().numpy()


@torch.no_grad()
def score_held_out(model: Any, size: int, count: int) -> dict[str, float]:
    """Measures the model on held-out scenes.

    Args:
        model: The `SAM2Base`, set to pictures of `size`.
        size: Side of the pictures in pixels.
        count: How many scenes.

    Returns:
        Means over all prompts: `box` and `point` are the IoU of the candidate with the highest
        predicted IoU; `box_single` is that of the single answer; `point` counts any part or whole
        that contains the point, `point_strict` only the one meant; `score_error` is the mean
        distance of the predicted IoU from the real one, for boxes.
    """
    training = model.training
    model.eval()
    found: dict[str, list[float]] = {
        name: [] for name in ("box", "point", "point_strict", "box_single", "score_error")
    }
    for index in range(count):
        rng = np.random.default_rng([HELD_OUT_SEED, index])
        scene = make_scene(rng, size, test=True)
        count_prompts = min(8, len(scene.masks))
        for kind in ("box", "point"):
            state = rng.bit_generator.state
            prompts = make_prompts(rng, [scene], kind, count_prompts)
            rng.bit_generator.state = state
            order = rng.permutation(len(scene.masks))
            masks, scores = answer(model, scene.image, prompts.coords, prompts.labels)
            for row in range(count_prompts):
                index = int(order[row])
                wanted = scene.masks[meant_by_box(scene, index) if kind == "box" else index]
                pick = int(scores[row, 1:].argmax()) + 1
                strict = iou(masks[row, pick], wanted)
                if kind == "box":
                    found["box"].append(strict)
                    found["box_single"].append(iou(masks[row, 0], wanted))
                    found["score_error"].append(abs(float(scores[row, pick]) - strict))
                    continue
                x, y = prompts.coords[row, 0].astype(int)
                meant = [mask for mask in scene.masks if mask[y, x]] or [wanted]
                found["point_strict"].append(strict)
                found["point"].append(max(iou(masks[row, pick], mask) for mask in meant))
    model.train(training)
    return {name: round(float(np.mean(values)), 4) for name, values in found.items()}
