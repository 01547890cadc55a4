"""Upsample low-resolution logits to a mask of the image, only where it can be set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam2_block.masks import EMPTY_MASK, CroppedMask
from sam2_block.out_of_memory import converting_mask_memory_errors

# Rows are interpolated in strips whose two float operands stay within this many bytes: they fit a
# core's cache, and the allocator reuses their memory. Strips of 8 MiB were allocated by the system
# each time and cleared, which took six times as long as the arithmetic.
_STRIP_BYTES = 1024**2


@dataclass(frozen=True)
class LowResMask:
    """One predicted mask: the crop of its logits that contains all positive ones.

    Attributes:
        score: Predicted quality, 0 to 1.
        logits: `(h, w)` float32, a crop of the decoder's grid. The mask is where they are positive.
        x: Column of the crop's left edge on the decoder's grid.
        y: Row of the crop's top edge.
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
        """Crop an `(s, s)` grid of logits to the positive cells and a margin of one cell.

        A pixel is a weighted mean of at most four neighbouring cells. If none of the four is
        positive, neither is the mean, so that cells beyond the margin never set a pixel.
        """
        positive = CroppedMask.from_region(logits > 0)
        height, width = positive.crop.shape
        if positive.is_empty:
            top, bottom, left, right = 0, 0, 0, 0
        else:
            top, bottom = max(0, positive.y - 1), positive.y + height + 1
            left, right = max(0, positive.x - 1), positive.x + width + 1
        crop = logits[top:bottom, left:right].copy()
        return cls(score, crop, left, top, logits.shape[0], image_hw)

    @converting_mask_memory_errors()
    def mask(self) -> CroppedMask:
        """Return the mask on the image's grid: the pixels whose interpolated logit is above 0.

        Interpolation is bilinear with `align_corners=False`. The values are those that
        `torch.nn.functional.interpolate` computes on the whole grid, up to the rounding of single
        precision.
        """
        if self.logits.size == 0:
            return EMPTY_MASK
        height, width = self.image_hw
        rows = _Axis.of(height, self.grid_side, self.y, self.logits.shape[0])
        columns = _Axis.of(width, self.grid_side, self.x, self.logits.shape[1])
        stretched = columns.blend(self.logits, axis=1)
        region = np.empty((len(rows.weight), len(columns.weight)), dtype=np.bool_)
        strip = max(1, _STRIP_BYTES // (8 * max(1, len(columns.weight))))
        for start in range(0, len(region), strip):
            part = rows.slice(start, start + strip)
            region[start : start + strip] = part.blend(stretched, axis=0) > 0
        return CroppedMask.from_region(region, columns.start, rows.start)


@dataclass(frozen=True)
class _Axis:
    """The neighbouring cells of each pixel along one axis, and their weights.

    Attributes:
        start: Index of the first pixel whose two cells are inside the crop.
        before: `(n,)`, index in the crop of the cell before each pixel.
        after: `(n,)`, index in the crop of the cell after each pixel.
        weight: `(n,)`, weight of the cell after, 0 to 1; the cell before has the rest.
    """

    start: int
    before: NDArray[np.intp]
    after: NDArray[np.intp]
    weight: NDArray[np.float32]

    @classmethod
    def of(cls, pixels: int, grid_side: int, offset: int, cells: int) -> _Axis:
        # Pixel centres in units of cells, as PyTorch computes them. Centres before that of the
        # first cell are clamped to it; centres after that of the last cell use this cell twice.
        centre = (np.arange(pixels, dtype=np.float32) + 0.5) * np.float32(grid_side / pixels) - 0.5
        centre = np.maximum(centre, 0.0)
        before = centre.astype(np.intp)
        weight = (centre - before).astype(np.float32)
        after = np.minimum(before + 1, grid_side - 1)
        # `before` never decreases, so these pixels are contiguous; an image smaller than the grid
        # may have none.
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
