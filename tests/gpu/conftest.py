"""Checkpoints with random weights, and a GPU that starts each test without our models."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
import torch

from sam2_block.backends.local.models.model_registry import MODELS
from tests.local.conftest import checkpoint_dir, random_checkpoint  # noqa: F401 - fixtures


@pytest.fixture(autouse=True)
def without_tf32() -> Iterator[None]:
    """Let single precision be single: convolutions round to TF32 by PyTorch's default.

    How they round depends on how many prompts are decoded together, so that results of two batches
    could not be compared closely.
    """
    backends = (torch.backends.cudnn, torch.backends.cuda.matmul)
    before = [backend.allow_tf32 for backend in backends]
    for backend in backends:
        backend.allow_tf32 = False
    yield
    for backend, allowed in zip(backends, before, strict=True):
        backend.allow_tf32 = allowed


@pytest.fixture(autouse=True)
def unloaded() -> Iterator[None]:
    """Unload models before and after, and give back the memory that PyTorch keeps."""
    for begins in (True, False):
        MODELS.unload()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if begins:
            yield
