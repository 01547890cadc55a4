"""Out-of-memory errors of all libraries, converted to one error that advises what to do."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import cv2

from sam2_block.errors import ModelError

# From the allocators of GPUs, and from cuBLAS, which allocates its own handle.
_DEVICE_MESSAGES = ("out of memory", "CUBLAS_STATUS_ALLOC_FAILED")

# From cuDNN, if no algorithm gets its workspace memory (pytorch/pytorch#108645), or if there is no
# algorithm at all.
_NO_ENGINE = "unable to find an engine to execute this computation"

# Also from the CPU's allocator (`c10/core/impl/alloc_cpu.cpp`), whose error has no separate type,
# and from OpenCV's (`modules/core/src/alloc.cpp`).
_MESSAGES = (*_DEVICE_MESSAGES, "can't allocate memory", "Insufficient memory")


@contextlib.contextmanager
def converting_mask_memory_errors() -> Iterator[None]:
    """Convert any out-of-memory error while masks are made to an error of this package.

    Also a decorator: `@converting_mask_memory_errors()`.

    Raises:
        ModelError: There was not enough memory.
    """
    try:
        yield
    except Exception as error:
        if not is_memory_error(error):
            raise
        raise ModelError(
            "memory ran out while masks were made. Segment fewer objects at once, resize or slice"
            " the image, or set SAM2_BLOCK_MASKS=compact, which keeps masks as crops."
        ) from error


def is_memory_error(error: Exception) -> bool:
    """Return whether an error of PyTorch, NumPy, OpenCV or Python reports that memory ran out."""
    if isinstance(error, (RuntimeError, cv2.error)):
        return any(message in str(error) for message in _MESSAGES)
    return isinstance(error, MemoryError)


def may_lack_device_memory(error: Exception) -> bool:
    """Return whether a GPU has, or may have, run out of memory: a smaller batch could succeed."""
    return isinstance(error, RuntimeError) and any(
        message in str(error) for message in (*_DEVICE_MESSAGES, _NO_ENGINE)
    )
