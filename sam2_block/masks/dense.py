"""The memory of a dense array of masks."""

from __future__ import annotations

import contextlib
import mmap

import numpy as np

from sam2_block.errors import PromptError
from sam2_block.masks import BoolArray

# From here on NumPy asks for huge pages (`numpy/_core/src/multiarray/alloc.c`).
_HUGE_BYTES = 4 * 1024**2


def blank_masks(count: int, image_hw: tuple[int, int], advice: str) -> BoolArray:
    """Return all-false masks, `(count, H, W)`.

    The system fills such memory in only where it is written to, so the parts of the image that no
    mask reaches cost little. That is so of small pages: NumPy asks Linux for huge ones, of which
    every mask would fill some in, and the system is slow to find them.

    Args:
        count: Number of masks.
        image_hw: Height and width of the image.
        advice: What the error tells the caller to do.

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
