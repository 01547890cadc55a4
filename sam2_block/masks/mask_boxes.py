"""Boxes of objects that have masks, converted to prompts that enclose every pixel of the mask.

supervision and the engine define the box of a mask by its first and last pixel: a mask of one pixel
at (3, 4) has the box (3, 4, 3, 4). SAM 2 expects edges: the same pixel is (3, 4, 4, 5). Boxes of
detectors are edges already. The mask distinguishes the two: a right or lower coordinate that equals
the last column or row of the mask is a pixel.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from sam2_block.masks.arrays import cropped_masks


def boxes_over_masks(boxes_xyxy: NDArray[Any], masks: Any) -> NDArray[np.float64]:
    """Return boxes whose right and lower edges enclose the last pixels of the masks.

    Only the part of a mask inside its box is read, so the cost depends on the object's size.

    Args:
        boxes_xyxy: `(N, 4)`, finite or not.
        masks: `(N, H, W)`, dense or compact.
    """
    boxes = np.array(boxes_xyxy, dtype=np.float64)
    _, height, width = masks.shape
    # Finite whole numbers inside the image, to slice windows from the masks.
    limits = np.array([width, height, width, height], dtype=np.float64)
    windows = np.floor(np.clip(np.nan_to_num(boxes), 0, limits)).astype(np.float32)
    return _enclosing(
        boxes,
        (None if mask.is_empty else mask.box_xyxy[2:] for mask in cropped_masks(masks, windows)),
    )


def boxes_over_rle(boxes_xyxy: NDArray[Any], rle: Iterable[Any]) -> NDArray[np.float64]:
    """Do the same as `boxes_over_masks` for masks as compressed COCO RLE, without decoding them.

    A box whose RLE cannot be read is unchanged: only the box of such a row is needed.
    """
    return _enclosing(np.array(boxes_xyxy, dtype=np.float64), map(_last_pixel_of_rle, rle))


def _last_pixel_of_rle(rle: Any) -> tuple[float, float] | None:
    """Return the last column and row of the mask of an RLE; None if it has none or is malformed."""
    try:
        height, width = map(int, rle["size"])
        if not (isinstance(rle["counts"], (str, bytes)) and min(height, width) > 0):
            return None
        left, top, box_width, box_height = coco_mask.toBbox(rle).tolist()
    except (TypeError, ValueError, KeyError, OverflowError):
        return None
    return (left + box_width - 1, top + box_height - 1) if box_width and box_height else None


def _enclosing(
    boxes: NDArray[np.float64], last_xy: Iterable[tuple[float, float] | None]
) -> NDArray[np.float64]:
    """Move right and lower edges that equal the last pixel of the mask, to enclose that pixel."""
    for box, last in zip(boxes, last_xy, strict=True):
        if last is not None:
            box[2:] += box[2:] == last
    return boxes
