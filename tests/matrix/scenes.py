"""The images that the cells are run on, with detections of theirs and the masks to find.

Each pixel says in its blue channel which object it belongs to, so that a backend without a model
finds the mask of a box on the image itself, on a crop of it, and in any order of the images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import supervision as sv

from sam2_block.backends.protocol import ReadyPrediction
from sam2_block.masks import CroppedMask

SOURCE_ROW = "source_row"
"""A column that tells rows apart wherever they go."""

_LEVELS_A_LABEL = 16


@dataclass(frozen=True, eq=False)
class Picture:
    """An image, and what a detector finds on it.

    Attributes:
        image: `(H, W, 3)` BGR.
        masks: `(N, H, W)`.
        names: The class of each object.
        boxes_xyxy: `(N, 4)`.
    """

    image: np.ndarray
    masks: np.ndarray
    names: tuple[str, ...]
    boxes_xyxy: np.ndarray

    def detections(self) -> sv.Detections:
        """Return what a tracker behind a detector hands on."""
        count = len(self.names)
        rows = np.arange(count)
        detections = sv.Detections(
            xyxy=self.boxes_xyxy.copy(),
            confidence=np.linspace(0.9, 0.8, count, dtype=np.float32),
            class_id=rows.copy(),
            tracker_id=rows + 11,
            data={
                "class_name": np.array(self.names, dtype=np.str_),
                "detection_id": np.array([f"id-{row}" for row in rows], dtype=np.str_),
                "inference_id": np.array(["inference"] * count, dtype=np.str_),
                SOURCE_ROW: rows.copy(),
            },
        )
        height, width = self.image.shape[:2]
        detections.metadata["image_dimensions"] = [height, width]
        return detections

    def mirrored(self) -> Picture:
        """Return the mirror image, left to right."""
        width = self.image.shape[1]
        left, top, right, bottom = self.boxes_xyxy.T
        return Picture(
            image=np.ascontiguousarray(self.image[:, ::-1]),
            masks=self.masks[..., ::-1],
            names=self.names,
            boxes_xyxy=np.stack([width - right, top, width - left, bottom], axis=-1),
        )


class LabelBackend:
    """Answers a box with the object that has most pixels in it; nothing where there is none."""

    concurrent_images = 1

    def predict(
        self, image: np.ndarray, prompts: Sequence[Any], **options: Any
    ) -> list[ReadyPrediction]:
        labels = (image[..., 0] if image.ndim == 3 else image) // _LEVELS_A_LABEL
        return [ReadyPrediction(0.75, _mask(labels, prompt)) for prompt in prompts]

    def embed(self, image: np.ndarray, *, version: str) -> None:
        pass


def _mask(labels: np.ndarray, prompt: Any) -> CroppedMask:
    left, top = (int(value) for value in np.floor(prompt.box_xyxy[:2]))
    right, bottom = (int(value) for value in np.ceil(prompt.box_xyxy[2:]))
    counts = np.bincount(labels[top:bottom, left:right].ravel(), minlength=2)[1:]
    found = int(counts.argmax()) + 1 if counts.any() else -1
    return CroppedMask.from_region(labels == found)


def _picture(height: int, width: int, shapes: dict[str, Any]) -> Picture:
    """Draw objects: a name, the box that a detector gives, and the mask as a function of (x, y)."""
    y, x = np.mgrid[:height, :width]
    labels = np.zeros((height, width), dtype=np.uint8)
    masks = []
    for index, (_, inside) in enumerate(shapes.values()):
        mask = inside(x, y)
        masks.append(mask)
        labels[mask] = index + 1
    noise = np.random.default_rng(0).integers(0, 60, (height, width, 3), dtype=np.uint8)
    image = noise + np.stack([x % 120, x % 120, y % 120], axis=-1).astype(np.uint8)
    image[labels > 0, 1:] += 70
    image[..., 0] = labels * _LEVELS_A_LABEL + noise[..., 0] % 8
    return Picture(
        image=image,
        masks=np.array(masks, dtype=bool).reshape(-1, height, width),
        names=tuple(shapes),
        boxes_xyxy=np.array([box for box, _ in shapes.values()], float).reshape(-1, 4),
    )


def _in(x: np.ndarray, y: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    left, top, right, bottom = box
    return (left <= x) & (x < right) & (top <= y) & (y < bottom)


_DISC = (25, 65, 56, 96), lambda x, y: (x - 40) ** 2 + (y - 80) ** 2 <= 15**2
_BAR = (90, 80, 150, 95), lambda x, y: _in(x, y, (90, 80, 150, 95))
_HOLE = (
    (60, 10, 90, 40),
    lambda x, y: _in(x, y, (60, 10, 90, 40)) & ~_in(x, y, (70, 20, 80, 30)),
)

MANY = _picture(
    120,
    160,
    {
        "disc": _DISC,
        "two parts": (
            (8, 8, 44, 20),
            lambda x, y: _in(x, y, (8, 8, 20, 20)) | _in(x, y, (28, 8, 44, 20)),
        ),
        "hole": _HOLE,
        "one pixel": ((73, 23, 78, 28), lambda x, y: (x == 75) & (y == 25)),
        "empty": ((100, 50, 112, 62), lambda x, y: x < 0),
        "bar": _BAR,
    },
)
OTHER = _picture(150, 200, {"bar": _BAR, "hole": _HOLE})
NOTHING = _picture(90, 110, {})
PLAIN = _picture(120, 160, {"disc": _DISC, "bar": _BAR})

SCENES: dict[str, tuple[Picture, ...]] = {
    "single": (MANY,),
    "empty": (NOTHING,),
    "batch": (OTHER, MANY),
}
SCENES_OF_FAILING = {"plain": (PLAIN,)}
"""Masks of one part without holes, for blocks that fail on others."""
