"""Compact masks with the interface of the dense array that they represent."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.typing import NDArray
from supervision.detection.compact_mask import CompactMask

from sam2_block.masks import BoolArray
from sam2_block.masks.dense import blank_masks

_ADVICE = "Take fewer rows (`mask[:10]`), a window (`mask[:, top:bottom, left:right]`) or one mask."
_READ_ONLY = (
    "These masks are stored compactly and cannot be changed in place. Change an array of them,"
    " `np.array(mask)`; with SAM2_BLOCK_MASKS=dense masks are arrays from the start."
)
# Unset pixels do not change these, so only crops need to be read.
_IGNORE_FALSE = (np.logical_or, np.bitwise_or, np.maximum, np.add)


def _dense_method(name: str) -> Callable[..., Any]:
    """Make a method that calls the method of this name on the dense array."""
    method = getattr(np.ndarray, name)

    @functools.wraps(method)
    def call(self: CompactMasks, *args: Any, **kwargs: Any) -> Any:
        return method(self.to_dense(), *args, **kwargs)

    return call


class CompactMasks(CompactMask, NDArrayOperatorsMixin):  # type: ignore[misc]  # untyped base
    """`sv.CompactMask` with the interface of the bool array `(N, H, W)` that it represents.

    Rows, windows, unions and sums are computed one mask at a time. Everything else is computed on a
    temporary dense array. `crop`, `area`, `offsets` and `resize` are supervision's.
    """

    __slots__ = ()

    @classmethod
    def of(cls, masks: CompactMask) -> CompactMasks:
        """Wrap compact masks, without copying their runs."""
        return cls(masks._rles, masks._crop_shapes, masks._offsets, masks.image_shape)

    @staticmethod
    def merge(masks_list: list[CompactMask]) -> CompactMasks:
        """Concatenate masks of one image."""
        return CompactMasks.of(CompactMask.merge(masks_list))

    def with_offset(self, dx: int, dy: int, new_image_shape: tuple[int, int]) -> CompactMasks:
        """Return the masks moved onto another image."""
        return CompactMasks.of(super().with_offset(dx, dy, new_image_shape))

    def resize(self, new_image_shape: tuple[int, int]) -> CompactMasks:
        """Return the masks scaled to another size of the image; unlike `ndarray.resize`."""
        return CompactMasks.of(super().resize(new_image_shape))

    def repack(self) -> CompactMasks:
        """Return the masks with tight crops."""
        return CompactMasks.of(super().repack())

    # Shape, size and conversion

    ndim = 3
    itemsize = 1

    @property
    def size(self) -> int:
        """Number of pixels of all masks."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def nbytes(self) -> int:
        """Bytes of the dense array; these masks take far fewer."""
        return self.size * self.itemsize

    def to_dense(self) -> BoolArray:
        """Return a new dense array.

        Raises:
            PromptError: This machine has no memory for it.
        """
        dense = blank_masks(len(self), self.image_shape, _ADVICE)
        for mask, (window, crop) in zip(dense, self._crops(), strict=True):
            mask[window] = crop
        return dense

    def _crops(self) -> Iterator[tuple[tuple[slice, slice], BoolArray]]:
        """Yield for each mask the window of the image that its crop covers, and the crop."""
        for index, (x, y) in enumerate(self.offsets.tolist()):
            crop = self.crop(index)
            height, width = crop.shape
            yield np.s_[y : y + height, x : x + width], crop

    # Elements

    def __getitem__(self, index: Any) -> Any:
        """Return one mask for an integer, compact masks for rows, and otherwise what an array does.

        A window, `masks[rows, top:bottom, left:right]`, is cut from one mask at a time.
        """
        rows, *window = _expand_ellipsis(index)
        per_mask = all(_is_basic(part) or part is Ellipsis for part in window)
        if not per_mask or not _is_row_index(rows):
            return self.to_dense()[_dense_if_compact(index)]
        selected = np.arange(len(self))[rows]
        if selected.ndim == 0:
            return super().__getitem__(int(selected))[tuple(window)]
        compact = CompactMasks.of(super().__getitem__(selected))
        if not window:
            return compact
        if len(compact) == 0:
            all_rows = (slice(None), *window)
            return compact.to_dense()[all_rows]
        return np.stack([mask[tuple(window)] for mask in compact])

    def __setitem__(self, index: Any, value: Any) -> None:
        """Refuse to change masks in place.

        Raises:
            TypeError: Always.
        """
        raise TypeError(_READ_ONLY)

    def __contains__(self, value: Any) -> bool:
        """Return whether any pixel equals a value."""
        return value in self.to_dense()

    # Arithmetic

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Return a new dense array."""
        if copy is False:
            raise ValueError("Compact masks become an array only by a copy.")
        dense = self.to_dense()
        return dense if dtype is None else dense.astype(dtype, copy=False)

    def __dlpack__(self, **options: Any) -> Any:
        """Export a dense array; PyTorch reads this and not `__array__`."""
        dense: Any = self.to_dense()
        return dense.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[Any, Any]:
        """Return the device of NumPy arrays: main memory."""
        return np.empty(0, dtype=np.bool_).__dlpack_device__()

    def __array_ufunc__(
        self, ufunc: np.ufunc, method: str, *inputs: Any, out: tuple[Any, ...] = (), **options: Any
    ) -> Any:
        """Apply a NumPy function to dense arrays; reductions are computed one mask at a time."""
        changed = inputs[:1] if method == "at" else out
        if any(isinstance(array, CompactMask) for array in changed):
            raise TypeError(_READ_ONLY)
        if method == "reduce" and not out and options.keys() <= {"axis", "keepdims"}:
            return self._reduce(ufunc, **{"axis": 0, **options})
        arrays = [_dense_if_compact(one) for one in inputs]
        options = {name: _dense_if_compact(option) for name, option in options.items()}
        if out:
            options["out"] = out
        return getattr(ufunc, method)(*arrays, **options)

    def _reduce(self, ufunc: np.ufunc, axis: Any, keepdims: bool = False) -> Any:
        # Reduce one pixel first, for the type of the result and for NumPy's own errors.
        dtype = ufunc.reduce(np.zeros((1, 1, 1), dtype=np.bool_), axis=axis).dtype
        axes = {int(one) % 3 for one in (range(3) if axis is None else np.atleast_1d(axis))}
        reduce = functools.partial(ufunc.reduce, axis=axis, keepdims=keepdims)
        if len(self) == 0 or not axes or (0 in axes and ufunc not in _IGNORE_FALSE):
            return reduce(self.to_dense())
        if 0 in axes:
            total = np.zeros(self.image_shape, dtype=dtype)
            for window, crop in self._crops():
                ufunc(total[window], crop, out=total[window])
            return reduce(total[None])
        if axes == {1, 2} and ufunc in _IGNORE_FALSE:
            return np.concatenate([reduce(crop[None]) for _, crop in self._crops()])
        return np.concatenate([reduce(mask[None]) for mask in self])

    def __eq__(self, other: Any) -> Any:
        """Compare pixels, as an array does.

        The result is true where all pixels are equal, as `sv.Detections` compares masks.
        """
        if not _broadcasts(self.shape, np.shape(other)):
            return False
        return np.asarray(self.to_dense() == _dense_if_compact(other)).view(_Equality)

    def any(self, axis: Any = None, out: Any = None, keepdims: bool = False, **options: Any) -> Any:
        """As `ndarray.any`; `any(axis=0)` is the union of the masks, `(H, W)`."""
        return np.logical_or.reduce(self, axis=axis, out=out, keepdims=keepdims, **options)

    def all(self, axis: Any = None, out: Any = None, keepdims: bool = False, **options: Any) -> Any:
        """As `ndarray.all`."""
        return np.logical_and.reduce(self, axis=axis, out=out, keepdims=keepdims, **options)

    def max(self, axis: Any = None, out: Any = None, keepdims: bool = False, **options: Any) -> Any:
        """As `ndarray.max`."""
        return np.maximum.reduce(self, axis=axis, out=out, keepdims=keepdims, **options)

    def min(self, axis: Any = None, out: Any = None, keepdims: bool = False, **options: Any) -> Any:
        """As `ndarray.min`."""
        return np.minimum.reduce(self, axis=axis, out=out, keepdims=keepdims, **options)

    def sum(
        self,
        axis: Any = None,
        dtype: Any = None,
        out: Any = None,
        keepdims: bool = False,
        **options: Any,
    ) -> Any:
        """As `ndarray.sum`; `sum(axis=(1, 2))` is the area of each mask."""
        if dtype is not None:
            options["dtype"] = dtype
        return np.add.reduce(self, axis=axis, out=out, keepdims=keepdims, **options)

    argmax = _dense_method("argmax")
    argmin = _dense_method("argmin")
    argsort = _dense_method("argsort")
    astype = _dense_method("astype")
    clip = _dense_method("clip")
    compress = _dense_method("compress")
    copy = _dense_method("copy")
    cumprod = _dense_method("cumprod")
    cumsum = _dense_method("cumsum")
    diagonal = _dense_method("diagonal")
    dot = _dense_method("dot")
    flatten = _dense_method("flatten")
    item = _dense_method("item")
    mean = _dense_method("mean")
    nonzero = _dense_method("nonzero")
    prod = _dense_method("prod")
    ravel = _dense_method("ravel")
    repeat = _dense_method("repeat")
    reshape = _dense_method("reshape")
    squeeze = _dense_method("squeeze")
    std = _dense_method("std")
    swapaxes = _dense_method("swapaxes")
    take = _dense_method("take")
    tobytes = _dense_method("tobytes")
    tolist = _dense_method("tolist")
    trace = _dense_method("trace")
    transpose = _dense_method("transpose")
    var = _dense_method("var")
    view = _dense_method("view")

    @property
    def T(self) -> BoolArray:  # noqa: N802  # the array's own name
        """The dense array transposed, `(W, H, N)`."""
        return self.to_dense().T

    @property
    def flat(self) -> np.flatiter[BoolArray]:
        """All pixels in order."""
        return self.to_dense().flat


class _Equality(np.ndarray[Any, np.dtype[np.bool_]]):
    """Pixelwise equality of masks; its truth value is whether all pixels are equal."""

    def __bool__(self) -> bool:
        return bool(np.asarray(self).all())

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        # Results of further computations are ordinary arrays.
        return np.asarray(array)[()]


def _dense_if_compact(value: Any) -> Any:
    return value.to_dense() if isinstance(value, CompactMask) else value


def _expand_ellipsis(index: Any) -> tuple[Any, ...]:
    """Return an index as one part per axis, rows first, with a leading `...` expanded."""
    parts = index if isinstance(index, tuple) else (index,)
    rest = parts[1:]
    if parts and (parts[0] is not Ellipsis or any(part is Ellipsis for part in rest)):
        return parts
    return (*[slice(None)] * (3 - len(rest)), *rest)


def _is_basic(part: Any) -> bool:
    """Return whether a part of an index is a slice or an integer, and not a bool."""
    is_number = isinstance(part, (int, np.integer)) and not isinstance(part, bool)
    return is_number or isinstance(part, slice)


def _is_row_index(part: Any) -> bool:
    """Return whether a part selects rows only: slice, integer, or sequence of integers or bools."""
    return _is_basic(part) or (not isinstance(part, tuple) and np.ndim(part) == 1)


def _broadcasts(*shapes: tuple[int, ...]) -> bool:
    try:
        np.broadcast_shapes(*shapes)
    except ValueError:
        return False
    return True
