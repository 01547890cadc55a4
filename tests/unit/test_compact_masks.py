"""Compact masks give what the dense array that they stand for gives."""

from __future__ import annotations

import copy
import operator
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import supervision as sv
import torch
from supervision.detection.compact_mask import CompactMask

from sam2_block.errors import PromptError
from sam2_block.masks import CroppedMask
from sam2_block.masks.arrays import MaskArray
from sam2_block.masks.compact import CompactMasks
from tests.unit.test_masks import HEIGHT, SHAPES, WIDTH

Array = Any
EMPTY = np.zeros((HEIGHT, WIDTH), dtype=np.bool_)
FULL = np.ones((HEIGHT, WIDTH), dtype=np.bool_)
STACKS = {
    "many": np.array([*SHAPES.values(), EMPTY, FULL]),
    "one": np.array([SHAPES["hole"]]),
    "one, empty": EMPTY[None],
    "one, of the whole image": FULL[None],
    "two, empty": np.array([EMPTY, EMPTY]),
    "no rows": np.zeros((0, HEIGHT, WIDTH), dtype=np.bool_),
}
MANY = STACKS["many"]
stacks = pytest.mark.parametrize("dense", STACKS.values(), ids=STACKS)


def compact(dense: np.ndarray) -> CompactMasks:
    array = MaskArray(len(dense), (HEIGHT, WIDTH), 0, "compact")
    for mask in dense:
        array.append(CroppedMask.from_region(mask))
    masks = array.get()
    assert isinstance(masks, CompactMasks)
    return masks


def outcome(call: Callable[[Array], Any], masks: Array) -> Any:
    """Return what a call gives; for an error, its type, which should be NumPy's as well."""
    try:
        return call(masks)
    except Exception as error:
        return type(error)


def assert_same(found: Any, expected: Any) -> None:
    if isinstance(expected, type):
        assert isinstance(found, type)
        assert issubclass(found, expected)
    elif isinstance(expected, (tuple, list)):
        assert type(found) is type(expected)
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    elif isinstance(expected, torch.Tensor):
        assert found.dtype == expected.dtype
        assert torch.equal(found, expected)
    elif isinstance(expected, (np.ndarray, np.generic)):
        assert found.dtype == expected.dtype
        assert found.shape == expected.shape
        np.testing.assert_array_equal(np.asarray(found), expected)
    else:
        assert type(found) is type(expected)
        assert found == expected


AXES = [None, 0, 1, 2, -1, -3, (0,), (1, 2), (2, 1), (-2, -1), (0, 1), (0, 2), (0, 1, 2), ()]
BAD_AXES = [3, -4, (1, 1), (0, 3), "x", 1.0]
REDUCTIONS = ("any", "all", "sum", "mean", "max", "min", "std", "var", "prod")
UFUNCS = (np.logical_or, np.logical_and, np.logical_xor, np.add, np.maximum, np.minimum)


@pytest.mark.filterwarnings("ignore:(Mean of empty|Degrees of freedom|invalid value)")
@stacks
@pytest.mark.parametrize("axis", [*AXES, *BAD_AXES], ids=str)
@pytest.mark.parametrize("keepdims", [False, True])
def test_reductions(dense: np.ndarray, axis: Any, keepdims: bool) -> None:
    masks = compact(dense)
    for name in REDUCTIONS:
        options = {"axis": axis, "keepdims": keepdims}
        assert_same(
            outcome(lambda m: getattr(m, name)(**options), masks),  # noqa: B023
            outcome(lambda m: getattr(m, name)(**options), dense),  # noqa: B023
        )
        assert_same(
            outcome(lambda m: getattr(np, name)(m, **options), masks),  # noqa: B023
            outcome(lambda m: getattr(np, name)(m, **options), dense),  # noqa: B023
        )
    for ufunc in UFUNCS:
        assert_same(
            outcome(lambda m: ufunc.reduce(m, axis, keepdims=keepdims), masks),  # noqa: B023
            outcome(lambda m: ufunc.reduce(m, axis, keepdims=keepdims), dense),  # noqa: B023
        )


OTHER = np.random.default_rng(0).random((HEIGHT, WIDTH)) < 0.5
ROWS_OF_CHESS = np.add.outer(np.arange(HEIGHT), np.arange(WIDTH)) % 2 == 0

OPERATIONS: dict[str, Callable[[Array], Any]] = {
    # What it is.
    "shape": lambda m: m.shape,
    "dtype": lambda m: m.dtype.name,
    "ndim": lambda m: m.ndim,
    "size": lambda m: m.size,
    "nbytes": lambda m: m.nbytes,
    "itemsize": lambda m: m.itemsize,
    "len": len,
    "np.shape": np.shape,
    "np.ndim": np.ndim,
    "np.size": np.size,
    "T": lambda m: m.T,
    "flat": lambda m: list(m.flat),
    "iteration": lambda m: list(m),
    "enumerate": lambda m: [mask.sum() for _, mask in enumerate(m)],
    "reversed": lambda m: list(reversed(m)),
    "in": lambda m: (True in m, 1 in m, 2 in m),
    "unpacking": lambda m: [*m],
    # Reductions with further arguments.
    "any, positional": lambda m: m.any(0),
    "any, out": lambda m: m.any(axis=0, out=np.zeros((HEIGHT, WIDTH), np.bool_)),
    "any, where": lambda m: m.any(axis=0, where=OTHER),
    "all, positional": lambda m: m.all((1, 2)),
    "sum, dtype": lambda m: m.sum(axis=0, dtype=np.uint8),
    "sum, positional dtype": lambda m: m.sum((1, 2), np.float32),
    "sum, out": lambda m: m.sum(axis=0, out=np.zeros((HEIGHT, WIDTH), np.int64)),
    "sum, where": lambda m: np.sum(m, axis=(1, 2), where=OTHER),
    "sum, initial": lambda m: m.sum(axis=0, initial=7),
    "max, initial": lambda m: m.max(initial=False),
    "reduce, by default the first axis": lambda m: np.logical_or.reduce(m),
    "reduceat": lambda m: np.logical_or.reduceat(m, [0]),
    "accumulate": lambda m: np.logical_or.accumulate(m),
    "outer": lambda m: np.logical_and.outer(m, [True, False]),
    "argmax": lambda m: m.argmax(),
    "argmax of pixels": lambda m: m.argmax(axis=1),
    "argmin": lambda m: m.argmin(axis=2),
    "nonzero": lambda m: m.nonzero(),
    "cumsum": lambda m: m.cumsum(axis=0),
    "cumprod": lambda m: m.cumprod(axis=1),
    # Other forms.
    "astype": lambda m: m.astype(np.uint8),
    "astype, by name": lambda m: m.astype("float32", copy=False),
    "copy": lambda m: m.copy(),
    "view": lambda m: m.view(np.uint8),
    "tolist": lambda m: m.tolist(),
    "tobytes": lambda m: m.tobytes(),
    "reshape": lambda m: m.reshape(len(m), HEIGHT * WIDTH),
    "reshape, one by one": lambda m: m.reshape(-1, HEIGHT * WIDTH if len(m) else 1),
    "squeeze": lambda m: m.squeeze(),
    "squeeze, an axis": lambda m: m.squeeze(axis=0),
    "transpose": lambda m: m.transpose(1, 2, 0),
    "swapaxes": lambda m: m.swapaxes(0, 2),
    "ravel": lambda m: m.ravel(),
    "flatten": lambda m: m.flatten(),
    "repeat": lambda m: m.repeat(2, axis=0),
    "take": lambda m: m.take([0], axis=0),
    "compress": lambda m: m.compress([True], axis=0),
    "clip": lambda m: m.clip(0, 1),
    "item": lambda m: m.item(5),
    "diagonal": lambda m: m.diagonal(),
    "trace": lambda m: m.trace(),
    "dot": lambda m: m.dot(np.ones(WIDTH)),
    "argsort": lambda m: m.argsort(axis=0, kind="stable"),
    # Operators.
    "~": operator.invert,
    "& mask": lambda m: m & OTHER,
    "mask &": lambda m: OTHER & m,
    "& itself": lambda m: m & m,
    "|": lambda m: m | OTHER,
    "| of numbers": lambda m: m | 1,
    "^": lambda m: m ^ OTHER,
    "*": lambda m: m * 255,
    "* from the left": lambda m: np.uint8(255) * m,
    "+": lambda m: m + m,
    "-, which NumPy refuses": lambda m: m - m,
    "- a number": lambda m: 1 - m,
    "/": lambda m: m / 2,
    "//": lambda m: m // 2,
    "%": lambda m: m % 2,
    "@": lambda m: m @ np.ones((WIDTH, 2)),
    "<<": lambda m: m << 1,
    "unary -, which NumPy refuses": operator.neg,
    "abs": operator.abs,
    "== mask": lambda m: m == OTHER,
    "== itself": lambda m: m == m,
    "== True": lambda m: m == True,  # noqa: E712
    "== 1": lambda m: m == 1,
    "== None": lambda m: m == None,  # noqa: E711
    "== text": lambda m: m == "mask",
    "== list": lambda m: m == OTHER.tolist(),
    "== one row": lambda m: m == OTHER[None],
    "== from the left": lambda m: operator.eq(OTHER, m),
    "!= mask": lambda m: m != OTHER,
    "!= itself": lambda m: m != m,
    "!= 1": lambda m: m != 1,
    "<": lambda m: m < OTHER,
    "<=": lambda m: m <= 0.5,
    ">": lambda m: m > 0,
    ">=": lambda m: m >= OTHER,
    "equality, all": lambda m: bool((m == np.asarray(m)).all()),
    # Functions of NumPy.
    "np.asarray": np.asarray,
    "np.asarray, dtype": lambda m: np.asarray(m, dtype=np.float32),
    "np.array": np.array,
    "np.array, dtype": lambda m: np.array(m, np.uint8),
    "np.array, of a list": lambda m: np.array(list(m)),
    "np.array, in a list": lambda m: np.array([m, m]),
    "np.asanyarray": np.asanyarray,
    "np.ascontiguousarray": np.ascontiguousarray,
    "np.copy": np.copy,
    "np.count_nonzero": np.count_nonzero,
    "np.count_nonzero, axis": lambda m: np.count_nonzero(m, axis=(1, 2)),
    "np.nonzero": np.nonzero,
    "np.argwhere": np.argwhere,
    "np.flatnonzero": np.flatnonzero,
    "np.where": lambda m: np.where(m, 2, 3),
    "np.where, one argument": lambda m: np.where(m),
    "np.stack": lambda m: np.stack([m, m]),
    "np.stack, rows": lambda m: np.stack(m),
    "np.concatenate": lambda m: np.concatenate([m, m]),
    "np.concatenate, with an array": lambda m: np.concatenate([m, OTHER[None]]),
    "np.vstack": lambda m: np.vstack([m, m]),
    "np.logical_and": lambda m: np.logical_and(m, OTHER),
    "np.logical_not": np.logical_not,
    "np.logical_or, out": lambda m: np.logical_or(m, OTHER, out=np.zeros(m.shape, np.bool_)),
    "np.bitwise_and": lambda m: np.bitwise_and(m, m),
    "np.add, where": lambda m: np.add(np.zeros(m.shape), 1, where=m, out=np.zeros(m.shape)),
    "np.invert": np.invert,
    "np.multiply": lambda m: np.multiply(m, 3),
    "np.array_equal": lambda m: np.array_equal(m, m),
    "np.array_equal, other": lambda m: np.array_equal(m, ~m),
    "np.allclose": lambda m: np.allclose(m, m),
    "np.average": lambda m: np.average(m, axis=(1, 2)),
    "np.sum of booleans": lambda m: np.sum(m == OTHER),
    "np.einsum": lambda m: np.einsum("nhw->n", np.asarray(m, np.int64)),
    "np.tensordot": lambda m: np.tensordot(m, np.ones((HEIGHT, WIDTH)), 2),
    "np.transpose": lambda m: np.transpose(m, (1, 2, 0)),
    "np.moveaxis": lambda m: np.moveaxis(m, 0, -1),
    "np.swapaxes": lambda m: np.swapaxes(m, 0, 1),
    "np.squeeze": np.squeeze,
    "np.ravel": np.ravel,
    "np.reshape": lambda m: np.reshape(m, (len(m), -1) if len(m) else (0, 1)),
    "np.expand_dims": lambda m: np.expand_dims(m, 1),
    "np.flip": lambda m: np.flip(m, axis=2),
    "np.rot90": lambda m: np.rot90(m, axes=(1, 2)),
    "np.roll": lambda m: np.roll(m, 1, axis=1),
    "np.pad": lambda m: np.pad(m, ((0, 0), (1, 1), (2, 2))),
    "np.repeat": lambda m: np.repeat(m, 2, axis=1),
    "np.tile": lambda m: np.tile(m, (1, 2, 1)),
    "np.take": lambda m: np.take(m, [0, 1], axis=1),
    "np.split": lambda m: np.split(m, [1]),
    "np.zeros_like": np.zeros_like,
    "np.ones_like": np.ones_like,
    "np.argmax": lambda m: np.argmax(m, axis=2),
    "np.cumsum": lambda m: np.cumsum(m),
    "np.unique": np.unique,
    "np.packbits": lambda m: np.packbits(m, axis=-1),
    "np.isin": lambda m: np.isin(m, [True]),
    "np.broadcast_to": lambda m: np.broadcast_to(m, (2, *m.shape)),
    "np.iterable": np.iterable,
    "np.from_dlpack": lambda m: np.from_dlpack(m),
    "an array indexed by a mask": lambda m: np.arange(m[0].size).reshape(m[0].shape)[m[0]],
    "an array masked by masks": lambda m: np.ma.masked_array(np.ones(m.shape), m).filled(0),
    "assigned to an array": lambda m: assigned(m),
    "combined into an array in place": lambda m: operator.ior(np.zeros(m.shape, np.bool_), m),
    # PyTorch.
    "torch.as_tensor": lambda m: torch.as_tensor(m),
    "torch.tensor": lambda m: torch.tensor(m),
    "torch.asarray": lambda m: torch.asarray(m),
    "torch.from_dlpack": lambda m: torch.from_dlpack(m),
    "torch.from_numpy": lambda m: torch.from_numpy(np.asarray(m)),
    "torch.as_tensor, dtype": lambda m: torch.as_tensor(m, dtype=torch.float32),
    # Copies.
    "pickle": lambda m: np.asarray(pickle.loads(pickle.dumps(m))),
    "copy.copy": lambda m: np.asarray(copy.copy(m)),
    "copy.deepcopy": lambda m: np.asarray(copy.deepcopy(m)),
}


def assigned(masks: Array) -> np.ndarray:
    canvas = np.full(masks.shape, 9, np.uint8)
    canvas[...] = masks
    canvas[np.asarray(masks)] = 7
    return canvas


@stacks
@pytest.mark.parametrize("name", OPERATIONS)
def test_operations(name: str, dense: np.ndarray) -> None:
    call = OPERATIONS[name]
    assert_same(outcome(call, compact(dense)), outcome(call, dense))


COUNT = len(MANY)
FLAGS = np.arange(COUNT) % 2 == 0
INDICES: dict[str, Any] = {
    # Rows.
    "number": 0,
    "last": -1,
    "NumPy's number": np.int64(1),
    "number beyond": COUNT,
    "number beyond, negative": -COUNT - 1,
    "0-d array": np.array(1),
    "flag": True,
    "no flag": False,
    "NumPy's flag": np.True_,
    "slice": np.s_[1:3],
    "every second": np.s_[::2],
    "reversed": np.s_[::-1],
    "negative step": np.s_[4:1:-2],
    "all": np.s_[:],
    "none": np.s_[:0],
    "slice beyond": np.s_[100:],
    "list": [2, 0],
    "repeated": [0, 0, -1],
    "no numbers": [],
    "list beyond": [0, COUNT],
    "array": np.array([1, 0]),
    "array of int8": np.array([1, 0], np.int8),
    "array of floats": np.array([1.0, 0.0]),
    "no floats": np.array([]),
    "range": range(2),
    "list of flags": FLAGS.tolist(),
    "flags": FLAGS,
    "no flags set": np.zeros(COUNT, np.bool_),
    "too few flags": np.array([True]),
    "too many flags": np.ones(COUNT + 1, np.bool_),
    "2-d numbers": np.array([[0, 1], [1, 0]]),
    "text": "rows",
    "float": 1.5,
    # Windows, as the engine's `dynamic_crop` cuts them.
    "window": np.s_[:, 2:5, 3:8],
    "window of rows": np.s_[1:3, 2:5, 3:8],
    "window of listed rows": np.s_[[0, 1], 2:5, 3:8],
    "window of flagged rows": np.s_[FLAGS, 2:5],
    "window of no rows": np.s_[:0, 1:4, 2:],
    "window, reversed": np.s_[::-1, ::-1, ::-2],
    "window of one": np.s_[0, 1:4],
    "window behind dots": np.s_[..., 2:5, 3:8],
    "line": np.s_[:, :, 4],
    "line behind dots": np.s_[..., 4],
    "line, dots in the middle": np.s_[0, ..., 4],
    "line of listed rows": np.s_[[1, 0], ..., 4],
    "line of listed rows, apart": np.s_[[1, 0], :, 4],
    "pixel of every mask": np.s_[:, 2, 3],
    "pixel": np.s_[0, 2, 3],
    "pixel behind dots": np.s_[..., 0, 2, 3],
    "pixel, dots last": np.s_[0, 2, 3, ...],
    "window beyond": np.s_[:, 50:60, -3:],
    "pixel beyond": np.s_[:, HEIGHT, 0],
    # What arrays take besides.
    "...": np.s_[...],
    "()": (),
    "None": None,
    "None behind": np.s_[:, None],
    "None in front": np.s_[None, 0],
    "dots and None": np.s_[..., None],
    "two dots": np.s_[..., 0, ...],
    "too many": np.s_[0, 0, 0, 0],
    "columns by list": np.s_[:, [1, 2]],
    "pixels by lists": np.s_[[0, 1], [2, 4], [3, 3]],
    "flag in a window": np.s_[:, True],
    "rows by a tuple": np.s_[(0, 1), 2:4],
    "pixels by flags": MANY,
    "columns by flags": np.s_[:, np.arange(HEIGHT) > 3],
    "pixels of all by flags": np.s_[:, OTHER],
}


@stacks
@pytest.mark.parametrize("name", INDICES)
def test_indices(name: str, dense: np.ndarray) -> None:
    index = INDICES[name]
    found = outcome(operator.itemgetter(index), compact(dense))
    assert_same(found, outcome(operator.itemgetter(index), dense))


@stacks
def test_masks_index_masks(dense: np.ndarray) -> None:
    masks = compact(dense)
    np.testing.assert_array_equal(masks[masks], dense[dense])
    if len(dense):  # NumPy takes a sequence without elements for numbers
        np.testing.assert_array_equal(dense[masks], dense[dense])


@pytest.mark.parametrize(
    "index", [np.s_[1:4], np.s_[::-1], [3, 1], FLAGS, FLAGS.tolist(), range(3), np.s_[:0]], ids=str
)
def test_chosen_rows_stay_compact(index: Any) -> None:
    assert isinstance(compact(MANY)[index], CompactMasks)


WITHOUT_A_DENSE_ARRAY: dict[str, Callable[[Array], Any]] = {
    "shape": lambda m: (m.shape, m.ndim, m.size, m.nbytes, len(m)),
    "rows": lambda m: m[[2, 0]].shape,
    "iteration": lambda m: [mask.sum() for mask in m],
    "window": lambda m: m[:, 2:5, 3:8],
    "window behind dots": lambda m: m[..., 2:5, 3:8],
    "pixel": lambda m: m[..., 3, 4],
    "any": lambda m: m.any(),
    "union": lambda m: m.any(axis=0),
    "union, np": lambda m: np.any(m, axis=0),
    "union, ufunc": lambda m: np.logical_or.reduce(m),
    "union, max": lambda m: np.max(m, axis=0),
    "which are set": lambda m: m.any(axis=(1, 2)),
    "rows of pixels": lambda m: m.any(axis=2),
    "pixels": lambda m: m.sum(),
    "areas": lambda m: np.sum(m, axis=(1, 2)),
    "areas, keepdims": lambda m: m.sum(axis=(-1, -2), keepdims=True),
    "how many objects": lambda m: m.sum(axis=0),
    "which are full": lambda m: m.all(axis=(1, 2)),
    "profile": lambda m: m.sum(axis=1),
    "profile of all": lambda m: m.sum(axis=(0, 1)),
}


@pytest.mark.parametrize("name", WITHOUT_A_DENSE_ARRAY)
def test_no_dense_array_is_made(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    masks = compact(MANY)
    expected = WITHOUT_A_DENSE_ARRAY[name](MANY)

    def refuse(self: CompactMasks) -> None:
        raise AssertionError("a dense array is made")

    monkeypatch.setattr(CompactMasks, "to_dense", refuse)
    assert_same(WITHOUT_A_DENSE_ARRAY[name](masks), expected)


CHANGES: dict[str, Callable[[Array], Any]] = {
    "masks[0] = mask": lambda m: operator.setitem(m, 0, OTHER),
    "masks[:] = False": lambda m: operator.setitem(m, slice(None), False),
    "masks[masks] = False": lambda m: operator.setitem(m, m, False),
    "&=": lambda m: operator.iand(m, OTHER),
    "|=": lambda m: operator.ior(m, m),
    "^=": lambda m: operator.ixor(m, OTHER),
    "out=": lambda m: np.logical_not(m, out=m),
    "at": lambda m: np.logical_or.at(m, 0, True),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_changes_in_place_are_refused(change: Callable[[Array], Any]) -> None:
    masks = compact(MANY)
    with pytest.raises(TypeError, match=r"np\.array\(mask\)"):
        change(masks)
    np.testing.assert_array_equal(masks, MANY)


def test_what_is_made_of_masks_can_be_changed() -> None:
    masks = compact(MANY)
    for made in (masks.copy(), np.asarray(masks), np.array(masks), masks.to_dense(), masks[0]):
        made[...] = False
    np.testing.assert_array_equal(masks, MANY)


def test_an_array_of_masks_is_a_copy() -> None:
    masks = compact(MANY)
    assert masks.__array__(copy=True).sum() == MANY.sum()
    with pytest.raises(ValueError, match="only by a copy"):
        masks.__array__(copy=False)


@pytest.mark.parametrize("name", ["missing", "fill", "__array_interface__", "cuda", "_crop"])
def test_nothing_else_is_made_up(name: str) -> None:
    assert not hasattr(compact(MANY), name)


CONVERSIONS: dict[str, Callable[[Array], Any]] = {
    "np.asarray": np.asarray,
    "~": operator.invert,
    "copy": lambda m: m.copy(),
    "astype": lambda m: m.astype(np.uint8),
    "np.concatenate": lambda m: np.concatenate([m, m]),
    "torch.as_tensor": torch.as_tensor,
    "to_dense": lambda m: m.to_dense(),
    "pixels by lists": lambda m: m[[0], [0], [0]],
}


@pytest.mark.parametrize("convert", CONVERSIONS.values(), ids=CONVERSIONS)
def test_an_array_that_does_not_fit_is_one_error(convert: Callable[[Array], Any]) -> None:
    side = 2**28
    one = CompactMask.from_dense(np.ones((1, 2, 2), np.bool_), np.array([[0, 0, 1, 1]]), (2, 2))
    masks = CompactMasks.of(one).with_offset(5, 7, (side, side))
    assert masks.nbytes == side**2
    with pytest.raises(PromptError, match=r"^1 masks of 268435456x268435456 pixels take .* window"):
        convert(masks)


def test_what_is_computed_from_equality_is_an_ordinary_array() -> None:
    equal = compact(MANY) == OTHER
    assert type(equal.all()) is np.bool_
    assert type(equal.sum()) is np.int64
    assert type(~equal) is np.ndarray
    assert type(equal & OTHER) is np.ndarray
    assert bool(equal) is False
    assert bool(compact(MANY) == MANY) is True


# Supervision


def test_own_methods_keep_the_class() -> None:
    masks = compact(MANY)
    moved = {
        "merge": CompactMasks.merge([masks, masks]),
        "with_offset": masks.with_offset(3, 4, (HEIGHT + 10, WIDTH + 10)),
        "resize": masks.resize((HEIGHT * 2, WIDTH * 2)),
        "repack": masks.repack(),
        "deepcopy": copy.deepcopy(masks),
        "pickle": pickle.loads(pickle.dumps(masks)),
    }
    for name, result in moved.items():
        assert isinstance(result, CompactMasks), name
    np.testing.assert_array_equal(moved["merge"], np.concatenate([MANY, MANY]))
    np.testing.assert_array_equal(moved["with_offset"][:, 4:-6, 3:-7], MANY)


def test_runs_are_shared_and_masks_taken_over_stay_what_they_are() -> None:
    theirs = CompactMask.from_dense(MANY, np.array([[0, 0, WIDTH, HEIGHT]] * COUNT), MANY[0].shape)
    ours = CompactMasks.of(theirs)
    assert type(theirs) is CompactMask
    assert ours._rles is theirs._rles


def detections(masks: Array) -> sv.Detections:
    boxes = sv.mask_to_xyxy(np.asarray(masks)).astype(float)
    return sv.Detections(
        xyxy=boxes,
        mask=masks,
        class_id=np.arange(len(masks)),
        confidence=np.linspace(0.9, 0.5, len(masks)),
    )


PICTURE = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)

SUPERVISION: dict[str, Callable[[sv.Detections], Any]] = {
    "area": lambda d: d.area,
    "box_area": lambda d: d.box_area,
    "len": len,
    "equality": lambda d: d == detections(d.mask),
    "equality, other masks": lambda d: d == detections(np.asarray(d.mask)[::-1].copy()),
    "equality, fewer rows": lambda d: d == d[:2],
    "equality, from the left": lambda d: detections(np.asarray(d.mask)) == d,
    "a row": lambda d: np.asarray(d[0].mask),
    "rows": lambda d: np.asarray(d[[2, 0]].mask),
    "filter": lambda d: np.asarray(d[d.confidence > 0.7].mask),
    "filter by area": lambda d: np.asarray(d[d.area > 4].mask),
    "no rows": lambda d: np.asarray(d[d.confidence > 2].mask),
    "select": lambda d: np.asarray(d.select(np.array([1, 0])).mask),
    "iteration": lambda d: [row[1] for row in d],
    "is_empty": lambda d: d.is_empty(),
    "is_empty, no rows": lambda d: d[:0].is_empty(),
    "merge": lambda d: np.asarray(sv.Detections.merge([d, d[:2]]).mask),
    "merge with dense": lambda d: np.asarray(
        sv.Detections.merge([d, detections(np.asarray(d.mask))]).mask
    ),
    "merge with nothing": lambda d: np.asarray(
        sv.Detections.merge([sv.Detections.empty(), d]).mask
    ),
    "with_nms": lambda d: np.asarray(d.with_nms(0.1, class_agnostic=True).mask),
    "with_nmm": lambda d: np.asarray(d.with_nmm(0.1, class_agnostic=True).mask),
    "mask_to_xyxy": lambda d: sv.mask_to_xyxy(d.mask),
    "mask_to_polygons": lambda d: [sv.mask_to_polygons(mask) for mask in d.mask],
    "mask_to_rle": lambda d: [sv.mask_to_rle(mask) for mask in d.mask],
    "mask_iou_batch": lambda d: sv.mask_iou_batch(d.mask, d.mask),
    "mask_iou_batch with dense": lambda d: sv.mask_iou_batch(d.mask, np.asarray(d.mask)[:3]),
    "mask_non_max_suppression": lambda d: sv.mask_non_max_suppression(
        np.column_stack([d.xyxy, d.confidence]), d.mask, 0.5
    ),
    "calculate_masks_centroids": lambda d: sv.calculate_masks_centroids(d.mask),
    "move_masks": lambda d: sv.move_masks(d.mask, np.array([2, 1]), (WIDTH + 4, HEIGHT + 4)),
    "centre of mass": lambda d: d.get_anchors_coordinates(sv.Position.CENTER_OF_MASS),
    "polygon zone": lambda d: sv.PolygonZone(np.array([[0, 0], [9, 0], [9, 9], [0, 9]])).trigger(d),
    "MaskAnnotator": lambda d: sv.MaskAnnotator().annotate(PICTURE.copy(), d),
    "PolygonAnnotator": lambda d: sv.PolygonAnnotator().annotate(PICTURE.copy(), d),
    "HaloAnnotator": lambda d: sv.HaloAnnotator().annotate(PICTURE.copy(), d),
    "BackgroundOverlayAnnotator": lambda d: sv.BackgroundOverlayAnnotator().annotate(
        PICTURE.copy(), d
    ),
    "BoxAnnotator": lambda d: sv.BoxAnnotator().annotate(PICTURE.copy(), d),
    "deepcopy": lambda d: np.asarray(copy.deepcopy(d).mask),
    "pickle": lambda d: np.asarray(pickle.loads(pickle.dumps(d)).mask),
}


# Supervision makes the overlap of dense masks small first, and computes it in float32.
EXACT_WHERE_COMPACT = ("with_nms", "mask_iou_batch")


def theirs(masks: CompactMasks) -> CompactMask:
    return CompactMask(masks._rles, masks._crop_shapes, masks._offsets, masks.image_shape)


@pytest.mark.parametrize("name", SUPERVISION)
def test_supervision(name: str) -> None:
    # Supervision's own rules for empty masks differ between the forms.
    dense = MANY[MANY.any(axis=(1, 2))]
    masks = compact(dense)
    reference = dense if name not in EXACT_WHERE_COMPACT else theirs(masks)
    call = SUPERVISION[name]
    assert_same(call(detections(masks)), call(detections(reference)))


def test_merged_rows_are_of_the_class_of_supervision() -> None:
    # `CompactMask.merge` names its class, so no method of a subclass is called: see the README.
    rows = detections(compact(MANY[:3]))
    assert type(sv.Detections.merge([rows, rows]).mask) is CompactMask
