"""Allocation of dense arrays of masks."""

from __future__ import annotations

import contextlib
import mmap

import numpy as np

from sam2_block.errors import PromptError
from sam2_block.masks import BoolArray

# From this size on NumPy requests huge pages (`numpy/_core/src/multiarray/alloc.c`).
_HUGE_BYTES = 4 * 1024**2


def blank_masks(count: int, image_hw: tuple[int, int], advice: str) -> BoolArray:
    """Return all-false masks, `(count, H, W)`.

    The system allocates a page of such memory only when it is written, so parts of the image
    without masks cost little. That holds for small pages. NumPy requests huge pages from Linux:
    every mask would write to some of these, and the system is slow to provide them.

    Args:
        count: Number of masks.
        image_hw: Height and width of the image.
        advice: End of the error's message: what to do.

    Raises:
        PromptError: This machine has no memory for them.
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
            f" GiB, which this machine does not have. {advice}"
        ) from error
