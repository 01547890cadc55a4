"""Turn out-of-memory errors of PyTorch and NumPy into one error of this package."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator

from sam2_block.compute.compute_target import ComputeTarget
from sam2_block.errors import ModelError
from sam2_block.out_of_memory import is_memory_error

__all__ = ["converting_memory_errors", "is_memory_error"]


@contextlib.contextmanager
def converting_memory_errors(version: str, compute: ComputeTarget) -> Iterator[None]:
    """Turn any out-of-memory error into one whose message lists the remedies.

    Args:
        version: The version of SAM 2 that runs within the context.
        compute: The device and the precision that it runs with.

    Raises:
        ModelError: There was not enough memory.
    """
    try:
        yield
    except Exception as error:
        if not is_memory_error(error):
            raise
        # Code that keeps the error would also keep the tensors that its frames hold.
        traceback.clear_frames(error.__traceback__)
        remedies = ["a smaller version", "another device (SAM2_BLOCK_DEVICE)"]
        if compute.device.type == "cuda" and compute.precision == "fp32":
            remedies.insert(1, "half precision (SAM2_BLOCK_PRECISION=auto)")
        raise ModelError(
            f"SAM 2 {version} ran out of memory on {compute.device}. Use {', or '.join(remedies)}."
        ) from error
