"""Memory that runs out, whoever says so: one error of this package that says what to do."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import cv2

from sam2_block.errors import ModelError

# Of the allocators of GPUs, and of cuBLAS, which allocates its handle by itself.
_DEVICE_MESSAGES = ("out of memory", "CUBLAS_STATUS_ALLOC_FAILED")

# Of cuDNN, where no algorithm gets the memory that it works in (pytorch/pytorch#108645), or where
# it has no algorithm at all.
_NO_ENGINE = "unable to find an engine to execute this computation"

# Also of the CPU's allocator (`c10/core/impl/alloc_cpu.cpp`), whose error has no type of its own,
# and of OpenCV's (`modules/core/src/alloc.cpp`).
_MESSAGES = (*_DEVICE_MESSAGES, "can't allocate memory", "Insufficient memory")


@contextlib.contextmanager
def naming_mask_memory_errors() -> Iterator[None]:
    """Turn whatever says that memory ran out while masks are made into an error of this package.

    Also a decorator: `@naming_mask_memory_errors()`.

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
    """Whether it says that there is no more memory; of PyTorch, NumPy, OpenCV or Python."""
    if isinstance(error, (RuntimeError, cv2.error)):
        return any(message in str(error) for message in _MESSAGES)
    return isinstance(error, MemoryError)


def may_lack_device_memory(error: Exception) -> bool:
    """Whether a GPU has no more memory, or may have none: less of the same work could succeed."""
    return isinstance(error, RuntimeError) and any(
        message in str(error) for message in (*_DEVICE_MESSAGES, _NO_ENGINE)
    )
