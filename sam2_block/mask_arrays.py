"""How the masks of one image are held together: as a dense array, or compactly where it is large.

`tools/compare_mask_arrays.py` measures what either costs. Dense is what every program takes; on a
large image it is slow to fill in, to filter and to draw, and may not fit.
"""

from __future__ import annotations

import contextlib
import mmap
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from supervision.detection.compact_mask import CompactMask

from sam2_block.errors import PromptError
from sam2_block.masks import BoolArray, CroppedMask

# From here on NumPy asks for huge pages (`numpy/_core/src/multiarray/alloc.c`).
_HUGE_BYTES = 4 * 1024**2


class CompactMasks(CompactMask):  # type: ignore[misc]  # supervision is untyped
    """`sv.CompactMask` that can also be sliced as the array that it stands for.

    `masks[:, top:bottom, left:right]` is a dense array, as `dynamic_crop` of the engine cuts masks.
    """

    __slots__ = ()

    @classmethod
    def of(cls, masks: CompactMask) -> CompactMasks:
        """Take compact masks over, which are laid out alike."""
        masks.__class__ = cls
        taken: CompactMasks = masks
        return taken

    def __getitem__(self, index: Any) -> BoolArray | CompactMasks:
        """Return a mask for a number, compact masks for rows, and else what an array would.

        A window of rows, `masks[rows, top:bottom, left:right]`, is cut from one mask at a time.
        """
        if isinstance(index, tuple) and 1 < len(index) <= 3 and _are_plain(index):
            rows, *window = index
            parts = [self[int(row)][tuple(window)] for row in np.arange(len(self))[rows]]
            if parts:
                return np.stack(parts)
        if isinstance(index, tuple) or index is None or index is Ellipsis:
            dense: BoolArray = self.to_dense()[index]
            return dense
        found = super().__getitem__(index)
        return CompactMasks.of(found) if isinstance(found, CompactMask) else found


def _are_plain(index: tuple[Any, ...]) -> bool:
    """Tell an index of a slice of rows, then slices and numbers, from all others."""
    return isinstance(index[0], slice) and all(
        isinstance(one, (slice, int, np.integer)) for one in index[1:]
    )


class MaskArray:
    """The masks of one image, filled in one at a time.

    Args:
        most: The number of masks that may come.
        image_hw: Height and width of the image.
        dense_bytes: Most bytes of a dense array; the masks are held compactly where `most` of them
            would take more.

    Raises:
        PromptError: A dense array is asked for that this machine has no memory for.
    """

    def __init__(self, most: int, image_hw: tuple[int, int], dense_bytes: int) -> None:
        height, width = image_hw
        self._image_hw = image_hw
        self._count = 0
        self._compact: list[CompactMask] = []
        is_dense = most * height * width <= dense_bytes
        self._dense = _blank(most, image_hw) if is_dense else None

    def append(self, mask: CroppedMask) -> None:
        """Add the next mask."""
        if self._dense is None:
            self._compact.append(_compact(mask, self._image_hw))
        elif not mask.is_empty:
            mask.paste_into(self._dense[self._count])
        self._count += 1

    def get(self) -> BoolArray | CompactMasks:
        """Return the masks that came, `(N, H, W)`: bool, or held compactly."""
        if self._dense is not None:
            return self._dense[: self._count]
        if not self._compact:
            return _blank(0, self._image_hw)
        return CompactMasks.of(CompactMask.merge(self._compact))


def cropped_masks(
    masks: Any, boxes_xyxy: NDArray[np.float32] | None = None
) -> Iterator[CroppedMask]:
    """Yield each of some masks, `(N, H, W)` or held compactly, as its crop.

    Args:
        masks: Of one image.
        boxes_xyxy: `(N, 4)`, first and last pixels of boxes that no mask exceeds, where known; the
            rest of the image is then not looked at.
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


def _blank(count: int, image_hw: tuple[int, int]) -> BoolArray:
    """Return all-false masks.

    The system fills such memory in only where it is written to, so the parts of the image that no
    mask reaches cost little. That is so of small pages: NumPy asks Linux for huge ones, of which
    every mask would fill some in, and the system is slow to find them.
    """
    height, width = image_hw
    nbytes = count * height * width
    try:
        if nbytes < _HUGE_BYTES or not hasattr(mmap, "MADV_NOHUGEPAGE"):
            return np.zeros((count, height, width), dtype=np.bool_)
        pages = mmap.mmap(-1, nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        with contextlib.suppress(OSError):  # a kernel without huge pages
            pages.madvise(mmap.MADV_NOHUGEPAGE)
        return np.frombuffer(pages, dtype=np.bool_).reshape(count, height, width)
    except (MemoryError, OSError, OverflowError) as error:
        raise PromptError(
            f"{count} masks of {width}x{height} pixels take {nbytes / 2**30:.0f}"
            " GiB, which this machine does not have. Lower SAM2_BLOCK_DENSE_MASK_BYTES, ask for"
            " fewer objects at once, or resize or slice the image."
        ) from error


def _compact(mask: CroppedMask, image_hw: tuple[int, int]) -> CompactMask:
    crop = np.zeros((1, 1), dtype=np.bool_) if mask.is_empty else mask.crop
    height, width = crop.shape
    box = np.array([[0, 0, width - 1, height - 1]])
    return CompactMask.from_dense(crop[None], box, (height, width)).with_offset(
        mask.x, mask.y, image_hw
    )
