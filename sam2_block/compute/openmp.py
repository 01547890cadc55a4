"""OpenMP, by which PyTorch uses several cores of a CPU."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from pathlib import Path

import torch
from threadpoolctl import LibController, ThreadpoolController


def can_use_one_thread() -> bool:
    """Whether `use_one_thread` has an effect: not on macOS, Windows, or with Intel's OpenMP."""
    return _gnu_openmp() is not None


def use_one_thread() -> None:
    """Have PyTorch compute in this thread alone what this thread asks of it from now on.

    OpenMP's number of threads belongs to the thread that calls: other threads, and the number that
    PyTorch says it uses, stay as they are.
    """
    torch.get_num_threads()  # a thread's first call copies the process's number
    gnu = _gnu_openmp()
    if gnu is not None:
        gnu.set_num_threads(1)
        _set_mkl_threads(1)


@functools.cache
def _gnu_openmp() -> LibController | None:
    """Return GNU's OpenMP as PyTorch has loaded it; a process may hold several copies."""
    copies = [
        library
        for library in ThreadpoolController().select(user_api="openmp").lib_controllers
        if library.prefix == "libgomp"
    ]
    folder = Path(torch.__file__).parent
    own = [
        library
        for library in copies
        if {folder, folder.with_name("torch.libs")} & set(Path(library.filepath).parents)
    ]
    if own:
        return own[0]
    return copies[0] if len(copies) == 1 else None


def _set_mkl_threads(count: int) -> None:
    """Set the number of this thread in MKL, which has one of its own after `set_num_threads`."""
    set_threads = _mkl_set_threads()
    if set_threads is not None:
        set_threads(count)


@functools.cache
def _mkl_set_threads() -> Callable[[int], int] | None:
    """Return the function of the MKL that is part of PyTorch's library."""
    library = Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"
    try:
        function: Callable[[int], int] = ctypes.CDLL(str(library)).MKL_Set_Num_Threads_Local
    except (OSError, AttributeError):
        return None
    return function
