"""Measures a checkpoint: `python measure.py demo.safetensors [--sheet sheet.png]`.

Prints mean IoU on held-out scenes and on the photos that never feed the training. The numbers are
those of the candidate with the highest predicted IoU of the three, at the pictures' own size.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from evaluate import answer, iou, score_held_out
from model import export, load, read_architecture, set_image_size
from photos import Example, examples
from prompts import BOTTOM_RIGHT, INSIDE, TOP_LEFT, Mask, box_of


def centre_of(mask: Mask) -> NDArray[np.float64]:
    """The pixel `(x, y)` deepest inside a mask."""
    depth = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    return np.array([x, y], np.float64)


def answer_photo(
    model: Any, example: Example, kind: str
) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Prompts each thing in a photo with its box or the point deepest inside it.

    Args:
        model: The `SAM2Base`.
        example: The photo.
        kind: `box` or `point`.

    Returns:
        The best candidates by predicted IoU as `(K, H, W)` masks, and their scores `(K,)`.
    """
    size = int(model.image_size)
    height, width = example.image.shape[:2]
    squash = np.array([size / width, size / height])
    if kind == "box":
        coords = np.stack([box_of(mask).reshape(2, 2) for mask in example.masks])
        labels = [[TOP_LEFT, BOTTOM_RIGHT]]
    else:
        coords = np.stack([centre_of(mask)[None] for mask in example.masks])
        labels = [[INSIDE]]
    pixels = torch.from_numpy(example.image).permute(2, 0, 1)[None].float()
    small = functional.interpolate(pixels, (size, size), mode="bilinear", antialias=True)
    image = small[0].permute(1, 2, 0).round().clamp(0, 255).byte().numpy()
    masks, scores = answer(
        model,
        image,
        (coords * squash).astype(np.float32),
        np.repeat(np.array(labels, np.int32), len(coords), 0),
    )
    pick = scores[:, 1:].argmax(1) + 1
    rows = np.arange(len(pick))
    best = masks[rows, pick].astype(np.uint8)
    full = [cv2.resize(mask, (width, height), interpolation=cv2.INTER_LINEAR) for mask in best]
    return np.array(full, bool), scores[rows, pick]


def paint(image: NDArray[np.uint8], masks: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The picture with each mask in a colour of its own."""
    result = image.copy()
    for index, mask in enumerate(masks):
        hue = np.array([[[index * 47 % 180, 220, 255]]], np.uint8)
        colour = cv2.cvtColor(hue, cv2.COLOR_HSV2RGB)[0, 0].astype(np.float32)
        result[mask] = (result[mask] * 0.45 + colour * 0.55).astype(np.uint8)
        outline, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(result, outline, -1, tuple(int(c) for c in colour), 2)
    return result


def main() -> None:
    """Reads the command line, measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--size", type=int, help="side of the pictures, a multiple of 64")
    parser.add_argument("--scenes", type=int, default=200)
    parser.add_argument("--sheet", type=Path, help="PNG: boxes above, points below")
    parser.add_argument("--stamp", action="store_true", help="write size and numbers into the file")
    args = parser.parse_args()
    model, metadata = load(args.checkpoint)
    size = args.size or int(model.image_size)
    set_image_size(model, size)
    quality: dict[str, Any] = {"image_size": size, "scenes": args.scenes}
    quality["held_out_scenes"] = score_held_out(model, size, args.scenes)
    print("held-out scenes:", quality["held_out_scenes"])
    print("| photo | boxes: mean IoU | worst | points: mean IoU | worst |\n|---|--:|--:|--:|--:|")
    rows: list[list[NDArray[np.uint8]]] = [[], []]
    for example in examples():
        cells = []
        for row, kind in enumerate(("box", "point")):
            found, _ = answer_photo(model, example, kind)
            values = [iou(a, b) for a, b in zip(found, example.masks, strict=True)]
            cells += [round(float(np.mean(values)), 3), round(min(values), 3)]
            rows[row].append(cv2.resize(paint(example.image, found), (480, 400)))
        quality[example.name] = {"box": cells[0], "point": cells[2]}
        print(f"| {example.name} | " + " | ".join(f"{cell:.3f}" for cell in cells) + " |")
    if args.sheet is not None:
        sheet = np.concatenate([np.concatenate(row, 1) for row in rows])
        cv2.imwrite(str(args.sheet), sheet[:, :, ::-1])
    if args.stamp:
        notes = {k: v for k, v in metadata.items() if k not in ("config", "license")}
        notes["quality"] = json.dumps(quality)
        export(model.state_dict(), read_architecture(size), args.checkpoint, notes)


if __name__ == "__main__":
    main()
