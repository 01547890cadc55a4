"""Bring a small mask of logits to the size of the image, only where it can be set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam2_block.masks import EMPTY_MASK, CroppedMask
from sam2_block.out_of_memory import naming_mask_memory_errors

# Rows are interpolated in strips whose two float operands stay within this many bytes: a core's
# cache holds them, and the allocator keeps their memory. Strips of 8 MiB were asked for anew and
# cleared by the system each time, which took six times as long as the arithmetic.
_STRIP_BYTES = 1024**2


@dataclass(frozen=True)
class LowResMask:
    """One predicted mask: the part of its logits that holds positive ones.

    Attributes:
        score: Predicted quality, 0 to 1.
        logits: `(h, w)` part of the decoder's grid around the positive logits, which are the mask.
        x: Column of the part's left edge on the decoder's grid.
        y: Row of the part's top edge.
        grid_side: Side of the decoder's grid, which is stretched over the image.
        image_hw: Height and width of the image.
    """

    score: float
    logits: NDArray[np.float32]
    x: int
    y: int
    grid_side: int
    image_hw: tuple[int, int]

    @classmethod
    def from_logits(
        cls, logits: NDArray[np.float32], score: float, image_hw: tuple[int, int]
    ) -> LowResMask:
        """Keep what matters of an `(s, s)` grid of logits: the positive cells and one ring more.

        A pixel lies between at most four cells. Where none of the four is positive, no weighting
        of them is, so what is further away than one cell from a positive one is never set.
        """
        positive = CroppedMask.from_region(logits > 0)
        height, width = positive.crop.shape
        if positive.is_empty:
            top, bottom, left, right = 0, 0, 0, 0
        else:
            top, bottom = max(0, positive.y - 1), positive.y + height + 1
            left, right = max(0, positive.x - 1), positive.x + width + 1
        kept = logits[top:bottom, left:right].copy()
        return cls(score, kept, left, top, logits.shape[0], image_hw)

    @naming_mask_memory_errors()
    def mask(self) -> CroppedMask:
        """Return the mask on the image's grid: bilinear, corners not aligned, logit above 0.

        The same values as `torch.nn.functional.interpolate` gives on the whole grid, up to the
        rounding of single precision.
        """
        if self.logits.size == 0:
            return EMPTY_MASK
        height, width = self.image_hw
        rows = _Axis.of(height, self.grid_side, self.y, self.logits.shape[0])
        columns = _Axis.of(width, self.grid_side, self.x, self.logits.shape[1])
        across = columns.blend(self.logits, axis=1)
        region = np.empty((len(rows.weight), len(columns.weight)), dtype=np.bool_)
        strip = max(1, _STRIP_BYTES // (8 * max(1, len(columns.weight))))
        for start in range(0, len(region), strip):
            part = rows.slice(start, start + strip)
            region[start : start + strip] = part.blend(across, axis=0) > 0
        return CroppedMask.from_region(region, columns.start, rows.start)


@dataclass(frozen=True)
class _Axis:
    """Where the pixels of one axis lie between the cells of the grid's part.

    Attributes:
        start: First pixel of the image that the part reaches.
        before: Index in the part of the cell before each pixel.
        after: Index in the part of the cell after it.
        weight: Share of the cell after, 0 to 1.
    """

    start: int
    before: NDArray[np.intp]
    after: NDArray[np.intp]
    weight: NDArray[np.float32]

    @classmethod
    def of(cls, pixels: int, grid_side: int, offset: int, cells: int) -> _Axis:
        # Pixel centres on the grid's axis, as PyTorch computes them: those before the first
        # cell's centre are drawn to it, those after the last take the last.
        centre = (np.arange(pixels, dtype=np.float32) + 0.5) * np.float32(grid_side / pixels) - 0.5
        centre = np.maximum(centre, 0.0)
        before = centre.astype(np.intp)
        weight = (centre - before).astype(np.float32)
        after = np.minimum(before + 1, grid_side - 1)
        # `before` never falls, so these are neighbours; an image smaller than the grid may
        # have none.
        inside = np.flatnonzero((before >= offset) & (after < offset + cells))
        start, stop = (int(inside[0]), int(inside[-1]) + 1) if len(inside) else (0, 0)
        return cls(
            start, before[start:stop] - offset, after[start:stop] - offset, weight[start:stop]
        )

    def slice(self, start: int, stop: int) -> _Axis:
        return _Axis(
            self.start + start,
            self.before[start:stop],
            self.after[start:stop],
            self.weight[start:stop],
        )

    def blend(self, values: NDArray[Any], axis: int) -> NDArray[np.float32]:
        """Interpolate `values` along an axis, from cells to pixels."""
        weight = self.weight[:, None] if axis == 0 else self.weight[None, :]
        first = values.take(self.before, axis=axis)
        blended = values.take(self.after, axis=axis)
        blended -= first
        blended *= weight
        blended += first
        return blended
