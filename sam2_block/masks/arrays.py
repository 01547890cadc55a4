"""The masks of one image as one array: dense, or compact where a dense one would be large.

`tools/compare_mask_arrays.py` measures the cost of both. Every program accepts a dense array, but
for a large image it is slow to fill in, to filter and to draw, and may not fit in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from supervision.detection.compact_mask import CompactMask

from sam2_block.masks import BoolArray, CroppedMask
from sam2_block.masks.compact import CompactMasks
from sam2_block.masks.dense import blank_masks
from sam2_block.settings import MaskForm

_ADVICE = {
    "auto": "Lower SAM2_BLOCK_DENSE_MASK_BYTES, segment fewer objects at once, or resize or slice"
    " the image.",
    "dense": "Set SAM2_BLOCK_MASKS to `auto` or `compact`, segment fewer objects at once, or resize"
    " or slice the image.",
}


class MaskArray:
    """The masks of one image, filled in one at a time.

    Args:
        max_masks: Maximum number of masks that will be appended.
        image_hw: Height and width of the image.
        dense_bytes: Maximum size of the dense array under `auto`; the masks are compact if
            `max_masks` of them would take more.
        form: `dense` or `compact`, whatever the size, or `auto`.

    Raises:
        PromptError: This machine has no memory for the dense array.
    """

    def __init__(
        self, max_masks: int, image_hw: tuple[int, int], dense_bytes: int, form: MaskForm = "auto"
    ) -> None:
        height, width = image_hw
        self._image_hw = image_hw
        self._form = form
        self._count = 0
        self._compact: list[CompactMask] = []
        fits = max_masks * height * width <= dense_bytes
        is_dense = form == "dense" or (form == "auto" and fits)
        self._dense = blank_masks(max_masks, image_hw, _ADVICE[form]) if is_dense else None

    def append(self, mask: CroppedMask) -> None:
        """Add the next mask."""
        if self._dense is None:
            self._compact.append(_compact(mask, self._image_hw))
        elif not mask.is_empty:
            mask.paste_into(self._dense[self._count])
        self._count += 1

    def get(self) -> BoolArray | CompactMasks:
        """Return the appended masks, `(N, H, W)`, dense or compact."""
        if self._dense is not None:
            return self._dense[: self._count]
        empty = np.zeros((0, *self._image_hw), dtype=np.bool_)
        if not self._compact and self._form == "auto":
            return empty
        empty_compact = CompactMasks.from_dense(empty, np.zeros((0, 4)), self._image_hw)
        return CompactMasks.merge([empty_compact, *self._compact])


def cropped_masks(
    masks: Any, boxes_xyxy: NDArray[np.float32] | None = None
) -> Iterator[CroppedMask]:
    """Yield each mask as its crop.

    Args:
        masks: `(N, H, W)`, dense or compact, of one image.
        boxes_xyxy: `(N, 4)`, first and last pixels of boxes around the masks, if known; pixels
            outside the boxes are not read.
    """
    if isinstance(masks, CompactMask):
        for index, (x, y) in enumerate(masks.offsets.tolist()):
            yield CroppedMask.from_region(masks.crop(index), x, y)
    elif boxes_xyxy is not None:
        for mask, box in zip(masks, boxes_xyxy, strict=True):
            # The box of an empty mask may lie anywhere.
            left, top, right, bottom = box.clip(0, max(mask.shape)).astype(int).tolist()
            yield CroppedMask.from_region(mask[top : bottom + 1, left : right + 1], left, top)
    else:
        for mask in masks:
            yield CroppedMask.from_region(mask)


def _compact(mask: CroppedMask, image_hw: tuple[int, int]) -> CompactMask:
    crop = np.zeros((1, 1), dtype=np.bool_) if mask.is_empty else mask.crop
    height, width = crop.shape
    box = np.array([[0, 0, width - 1, height - 1]])
    return CompactMask.from_dense(crop[None], box, (height, width)).with_offset(
        mask.x, mask.y, image_hw
    )
