"""Binary masks stored as tight crops, and their encoding as COCO RLE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class CroppedMask:
    """A mask, stored as its tight crop: a small object on a large image takes few bytes.

    Attributes:
        crop: `(h, w)`; its first and last rows and columns each hold a set pixel. `(0, 0)` if the
            mask is empty.
        x: Column of the crop's left edge in the image.
        y: Row of the crop's top edge in the image.
    """

    crop: BoolArray
    x: int = 0
    y: int = 0

    @classmethod
    def from_region(cls, region: BoolArray, x: int = 0, y: int = 0) -> CroppedMask:
        """Trim a region of the image whose upper left pixel is (`x`, `y`) to its set pixels."""
        rows = np.flatnonzero(region.any(axis=1))
        if len(rows) == 0:
            return EMPTY_MASK
        top, bottom = int(rows[0]), int(rows[-1]) + 1
        columns = np.flatnonzero(region[top:bottom].any(axis=0))
        left, right = int(columns[0]), int(columns[-1]) + 1
        return cls(region[top:bottom, left:right], x + left, y + top)

    def detached(self) -> CroppedMask:
        """Return a copy that does not keep the memory of the whole region alive."""
        return CroppedMask(self.crop.copy(), self.x, self.y)

    @property
    def is_empty(self) -> bool:
        """Whether no pixel is set."""
        return self.crop.size == 0

    @property
    def box_xyxy(self) -> tuple[float, float, float, float]:
        """The tight box in the convention of supervision and the engine: first and last set pixel.

        A mask of one pixel at (3, 4) has the box (3, 4, 3, 4), as `sv.mask_to_xyxy` gives it.
        """
        height, width = self.crop.shape
        return (self.x, self.y, self.x + width - 1, self.y + height - 1)

    def paste_into(self, canvas: BoolArray) -> None:
        """Set this mask's pixels in an all-false `(H, W)` array."""
        height, width = self.crop.shape
        canvas[self.y : self.y + height, self.x : self.x + width] = self.crop

    def coco_rle(self, image_hw: tuple[int, int]) -> dict[str, Any]:
        """Encode the mask on the image's grid as compressed COCO RLE.

        Only the crop is read, so the cost depends on the object's size and not on the image's.

        Args:
            image_hw: Height and width of the image that the mask lies in.

        Returns:
            `{"size": [height, width], "counts": text}`; `counts` is text, so that JSON can hold it.
        """
        height, width = image_hw
        edges = self._edges(height)
        counts = np.diff(np.concatenate([[0], edges, [height * width]]))
        if len(edges) and counts[-1] == 0:
            counts = counts[:-1]
        rle = {"size": [height, width], "counts": counts.tolist()}
        return {
            "size": [height, width],
            "counts": coco_mask.frPyObjects(rle, height, width)["counts"].decode("ascii"),
        }

    def _edges(self, image_height: int) -> NDArray[np.int64]:
        """Return the offsets in column order at which runs of set pixels begin and end."""
        crop_height, crop_width = self.crop.shape
        columns = np.zeros((crop_width, crop_height + 2), dtype=np.int8)
        columns[:, 1:-1] = self.crop.T
        column, row = np.nonzero(np.diff(columns, axis=1))
        edges = (self.x + column) * image_height + self.y + row
        # A run at the end of an image column continues if the next column begins with one.
        (continued,) = np.nonzero(edges[1:] == edges[:-1])
        return np.delete(edges, np.concatenate([continued, continued + 1])).astype(np.int64)


EMPTY_MASK = CroppedMask(np.zeros((0, 0), dtype=np.bool_))


def coco_rle(mask: BoolArray) -> dict[str, Any]:
    """Encode an `(H, W)` mask as compressed COCO RLE, with `counts` as text for JSON."""
    height, width = mask.shape
    return CroppedMask.from_region(mask).coco_rle((height, width))
