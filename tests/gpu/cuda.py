"""Where these tests run, and why they do not where they do not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sam2_block.backends.local.local_backend import LocalBackend
from sam2_block.settings import LocalSettings

DEVICE = torch.device("cuda", 0)
NEEDS_CUDA = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not torch.cuda.is_available(),
        reason="needs a CUDA device: torch.cuda.is_available() is False here",
    ),
]

MakeBackend = Callable[..., LocalBackend]


def make_backend(checkpoint_dir: Path, precision: str = "fp32", **settings: int) -> LocalBackend:
    """Return a backend on the GPU; skip the test where the GPU has not the precision."""
    if precision == "bf16" and torch.cuda.get_device_capability(DEVICE) < (8, 0):
        pytest.skip("bf16 needs a CUDA device of compute capability 8.0 or later")
    return LocalBackend(
        LocalSettings(
            device=str(DEVICE), precision=precision, checkpoint_dir=checkpoint_dir, **settings
        )
    )


def allocated() -> int:
    """Return the bytes that tensors take on the GPU when all that is queued there is done."""
    torch.cuda.synchronize(DEVICE)
    return torch.cuda.memory_allocated(DEVICE)
