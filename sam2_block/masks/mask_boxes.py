"""Boxes of objects that came with masks, as prompts that reach over every pixel of the mask.

supervision and the engine write the box of a mask as its first and last pixel: a mask of one pixel
at (3, 4) has the box (3, 4, 3, 4). SAM 2 takes edges, so the same pixel is (3, 4, 4, 5). Boxes of
detectors are edges already. What tells them apart is the mask: an edge that is a whole number and
the last row or column of the mask is a pixel.
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

    Only the part of a mask inside its box is read, so that the cost is the object's.

    Args:
        boxes_xyxy: `(N, 4)`, finite or not.
        masks: `(N, H, W)`, dense or held compactly.
    """
    boxes = np.array(boxes_xyxy, dtype=np.float64)
    _, height, width = masks.shape
    # Inside the image, as whole numbers, and finite: what a window of the mask is cut by.
    limits = np.array([width, height, width, height], dtype=np.float64)
    windows = np.floor(np.clip(np.nan_to_num(boxes), 0, limits)).astype(np.float32)
    return _enclosing(
        boxes,
        (None if mask.is_empty else mask.box_xyxy[2:] for mask in cropped_masks(masks, windows)),
    )


def boxes_over_rle(boxes_xyxy: NDArray[Any], rle: Iterable[Any]) -> NDArray[np.float64]:
    """Do as `boxes_over_masks` for masks as compressed COCO RLE, none of which is decoded.

    Boxes whose RLE cannot be read stay as they are: only the box is needed of such a row.
    """
    return _enclosing(np.array(boxes_xyxy, dtype=np.float64), map(_last_pixel_of_rle, rle))


def _last_pixel_of_rle(rle: Any) -> tuple[float, float] | None:
    """Return the right and the lower edge of the box of an RLE; None without one."""
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
    """Move the right and the lower edge of each box that is at the last pixel of its mask."""
    for box, last in zip(boxes, last_xy, strict=True):
        if last is not None:
            box[2:] += box[2:] == last
    return boxes
