"""Control OpenMP, through which PyTorch uses several cores of a CPU."""

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
    """Make PyTorch run the current thread's operations in this thread only, from now on.

    OpenMP's number of threads is local to the calling thread: other threads, and the number that
    `torch.get_num_threads` returns in them, do not change.
    """
    torch.get_num_threads()  # a thread's first call overwrites its number with the process's
    gnu = _gnu_openmp()
    if gnu is not None:
        gnu.set_num_threads(1)
        _set_mkl_threads(1)


@functools.cache
def _gnu_openmp() -> LibController | None:
    """Return the copy of GNU's OpenMP that PyTorch uses; a process may have several loaded."""
    copies = [
        library
        for library in ThreadpoolController().select(user_api="openmp").lib_controllers
        if library.prefix == "libgomp"
    ]
    folder = Path(torch.__file__).parent
    of_pytorch = [
        library
        for library in copies
        if {folder, folder.with_name("torch.libs")} & set(Path(library.filepath).parents)
    ]
    if of_pytorch:
        return of_pytorch[0]
    return copies[0] if len(copies) == 1 else None


def _set_mkl_threads(count: int) -> None:
    """Set the current thread's number in MKL, which is separate after `torch.set_num_threads`."""
    set_threads = _mkl_set_threads()
    if set_threads is not None:
        set_threads(count)


@functools.cache
def _mkl_set_threads() -> Callable[[int], int] | None:
    """Return the function of the MKL that PyTorch's library includes; None without MKL."""
    library = Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"
    try:
        function: Callable[[int], int] = ctypes.CDLL(str(library)).MKL_Set_Num_Threads_Local
    except (OSError, AttributeError):
        return None
    return function
