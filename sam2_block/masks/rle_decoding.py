"""Decode compressed COCO RLE from an untrusted source, in memory bounded by the mask's size."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from sam2_block.masks import BoolArray

# SAM 2 predicts masks of 256 x 256 logits, which are enlarged linearly, so a column of the image
# has at most 256 changes. Twice that leaves room for similar models. In a mask of up to a million
# pixels every pixel may be a run.
_MAX_CHANGES_PER_COLUMN = 512
_ALLOWED_RUNS = 2**20
_MAX_RUN_CHARACTERS = 6  # 30 bits, so that no sum below overflows


def max_rle_runs(image_hw: tuple[int, int]) -> int:
    """Return the maximum number of runs in the RLE of one mask."""
    height, width = image_hw
    return min(height * width, max(_MAX_CHANGES_PER_COLUMN * width, _ALLOWED_RUNS)) + 2


def max_rle_characters(image_hw: tuple[int, int]) -> int:
    """Return the maximum number of characters in the RLE of one mask.

    A run of fewer than 16 pixels takes one character, and a longer run takes fewer characters than
    it has pixels, so there are never more characters than pixels. Most runs take at most three.
    """
    height, width = image_hw
    return min(height * width, 3 * max_rle_runs(image_hw)) + 64


def decode_coco_rle(rle: Any, image_hw: tuple[int, int]) -> BoolArray:
    """Decode compressed COCO RLE from an untrusted source.

    `pycocotools` writes past the end of the mask if the runs are longer than the mask, so their
    lengths are checked first. Format: `rleFrString` in `common/maskApi.c` of pycocotools.

    Args:
        rle: `{"size": [height, width], "counts": text}`.
        image_hw: Height and width that the mask must have.

    Returns:
        The mask, `(H, W)`.

    Raises:
        ValueError: `rle` is not the RLE of such a mask. The message gives the reason without
            quoting `rle`.
    """
    height, width = image_hw
    if not isinstance(rle, dict) or not isinstance(rle.get("counts"), str):
        raise ValueError("no text `counts`")
    if rle.get("size") != [height, width]:
        raise ValueError(f"a size other than {[height, width]}")
    if len(rle["counts"]) > max_rle_characters(image_hw):
        raise ValueError("`counts` that are far too long")
    counts = _run_lengths(rle["counts"], max_rle_runs(image_hw))
    if counts.min() < 0 or counts.max() > height * width or counts.sum() != height * width:
        raise ValueError(f"runs that do not fill {height} x {width} pixels")
    decoded = coco_mask.decode({"size": [height, width], "counts": rle["counts"].encode("ascii")})
    return np.asarray(decoded, dtype=np.bool_)


def _run_lengths(text: str, max_runs: int) -> NDArray[np.int64]:
    """Return the lengths of the runs in compressed COCO `counts`."""
    encoded = text.encode("utf-8", "surrogatepass")  # JSON text may hold lone surrogates
    characters = np.frombuffer(encoded, dtype=np.uint8)
    if len(characters) == 0 or characters.min() < 48 or characters.max() > 48 + 63:
        raise ValueError("`counts` with a character that COCO RLE does not use")
    characters = characters - np.uint8(48)
    is_last = characters & 0x20 == 0
    if not is_last[-1]:
        raise ValueError("`counts` that end in the middle of a number")
    # Count runs before allocating arrays of them, which take dozens of bytes per run.
    if np.count_nonzero(is_last) > max_runs:
        raise ValueError("`counts` of far too many runs")
    ends = np.flatnonzero(is_last)
    lengths = np.diff(ends, prepend=-1)
    if lengths.max() > _MAX_RUN_CHARACTERS:
        raise ValueError("`counts` with a number that is far too large")
    # Five bits a character, the lowest first; the last one's highest bit is the sign.
    values = np.where(characters[ends] & 0x10, np.int64(-1) << (5 * lengths), 0)
    for offset in range(int(lengths.max())):
        (rows,) = np.nonzero(lengths > offset)
        index = ends[rows] - lengths[rows] + 1 + offset
        values[rows] |= (characters[index] & 0x1F).astype(np.int64) << (5 * offset)
    # From the fourth on, a number is the difference from the number two before it.
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values
