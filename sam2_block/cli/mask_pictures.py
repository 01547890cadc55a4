"""A pair of pictures: the prompts on an image, and beside them the masks."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import supervision as sv

from sam2_block.images import Image

# A picture smaller than this is enlarged, so that lines of one width suit all.
_MIN_SIDE, _MAX_SCALE = 640, 4


def mask_pair(
    image_bgr: Image,
    prompts: sv.Detections,
    masks: sv.Detections,
    points: Sequence[tuple[float, ...]] = (),
    negative_points: Sequence[tuple[float, ...]] = (),
) -> Image:
    """Draw boxes and points on an image, and beside it the outlined masks.

    Args:
        image_bgr: `(H, W, 3)` BGR.
        prompts: Boxes, in pixels of the image.
        masks: What `Segmenter.segment` returned.
        points: `(x, y)` of positive points, in pixels.
        negative_points: `(x, y)` of negative points.

    Returns:
        `(H', W', 3)` BGR, both pictures side by side; small images are enlarged.
    """
    height, width = image_bgr.shape[:2]
    scale = float(np.clip(_MIN_SIDE / min(height, width), 1, _MAX_SCALE))
    size = (round(width * scale), round(height * scale))
    left = cv2.resize(image_bgr, size, interpolation=cv2.INTER_CUBIC)
    right = left.copy()
    thickness = max(2, round(min(size) / 320))
    boxes = sv.Detections(xyxy=prompts.xyxy * scale)
    sv.BoxAnnotator(thickness=thickness, color_lookup=sv.ColorLookup.INDEX).annotate(left, boxes)
    for these, color in ((points, (60, 200, 60)), (negative_points, (40, 40, 230))):
        for x, y in these:
            center = (round(x * scale), round(y * scale))
            cv2.circle(left, center, 3 * thickness, (255, 255, 255), -1, cv2.LINE_AA)
            cv2.circle(left, center, 2 * thickness, color, -1, cv2.LINE_AA)
    for row, mask in enumerate(masks.mask):
        color_bgr = sv.ColorPalette.DEFAULT.by_idx(row).as_bgr()
        _draw_mask(right, np.asarray(mask, dtype=np.uint8), size, color_bgr, thickness)
    gap = np.full((size[1], 4 * thickness, 3), 255, dtype=np.uint8)
    return np.hstack([left, gap, right])


def _draw_mask(
    picture: Image,
    mask: np.ndarray[tuple[int, ...], np.dtype[np.uint8]],
    size: tuple[int, int],
    color_bgr: tuple[int, int, int],
    thickness: int,
) -> None:
    """Tint a mask and draw the outlines of its parts and holes, in place."""
    enlarged = cv2.resize(mask, size, interpolation=cv2.INTER_LINEAR) > 0
    tint = np.array(color_bgr, dtype=np.float32)
    picture[enlarged] = (0.6 * picture[enlarged] + 0.4 * tint).astype(np.uint8)
    contours, _ = cv2.findContours(enlarged.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, contours, -1, color_bgr, thickness, cv2.LINE_AA)
