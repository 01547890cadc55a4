"""A GPU's memory is bounded, given back, and its end is met by halves and then by one error."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sam2_block.backends.local.local_backend import LocalBackend
from sam2_block.errors import ModelError
from sam2_block.prompts import Prompt
from sam2_block.sam2.sam2_modules import _BATCH_BYTES, Sam2Modules
from tests.gpu.cuda import DEVICE, NEEDS_CUDA, allocated, make_backend
from tests.local.crossings import Crossings

pytestmark = NEEDS_CUDA

MIB = 2**20
VERSION = "hiera_tiny"
HEIGHT, WIDTH = 3000, 4000
MASK_BYTES = 256 * 256 * 4  # the decoder's grid


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def boxes(count: int) -> list[Prompt]:
    corners = np.random.default_rng(1).uniform(0, 0.9, (count, 2)) * (WIDTH, HEIGHT)
    return [Prompt(box_xyxy=(x, y, x + 0.08 * WIDTH, y + 0.08 * HEIGHT)) for x, y in corners]


@pytest.fixture
def backend(checkpoint_dir: Path, random_checkpoint: Any, image: np.ndarray) -> LocalBackend:
    """Return a backend whose model is loaded, and whose GPU is as warm as it gets."""
    random_checkpoint(VERSION)
    backend = make_backend(checkpoint_dir)
    predict(backend, image[:300, :400], 1)
    return backend


def predict(backend: LocalBackend, image: np.ndarray, count: int) -> list[Any]:
    return backend.predict(image, boxes(count), version=VERSION, multimask_output=True)


@pytest.fixture
def cap() -> Iterator[Callable[[int], None]]:
    """Return a function that leaves PyTorch so many free bytes on the GPU, in blocks of 2 MiB up.

    What PyTorch has reserved and not handed out is filled first: a cap is on what it reserves.
    """
    total = torch.cuda.get_device_properties(DEVICE).total_memory
    ballast: list[torch.Tensor] = []

    def limit(free: int) -> None:
        allocated()
        torch.cuda.empty_cache()
        reserved = torch.cuda.memory_reserved(DEVICE)
        torch.cuda.set_per_process_memory_fraction(reserved / total, DEVICE)
        with contextlib.suppress(torch.cuda.OutOfMemoryError):
            while True:
                ballast.append(torch.empty(2 * MIB, dtype=torch.uint8, device=DEVICE))
        torch.cuda.set_per_process_memory_fraction((reserved + free) / total, DEVICE)

    yield limit
    ballast.clear()
    torch.cuda.set_per_process_memory_fraction(1.0, DEVICE)


@pytest.fixture
def attempts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows by the prompts of every batch that is tried."""
    tried: list[int] = []
    decode = Sam2Modules.decode

    def watched(network: Any, embedding: Any, prompts: Any) -> Any:
        tried.append(len(prompts))
        return decode(network, embedding, prompts)

    monkeypatch.setattr(Sam2Modules, "decode", watched)
    return tried


def test_300_boxes_on_a_12_megapixel_image_stay_within_a_batch(
    backend: LocalBackend, image: np.ndarray
) -> None:
    before, embeddings = allocated(), backend.embeddings.nbytes
    torch.cuda.reset_peak_memory_stats(DEVICE)
    answers = predict(backend, image, 300)
    peak = torch.cuda.max_memory_allocated(DEVICE) - before
    assert any(not answer.mask().is_empty for answer in answers)
    assert peak <= _BATCH_BYTES, f"{peak / MIB:.0f} MiB"
    # Nothing is left but the image's embedding.
    kept = backend.embeddings.nbytes - embeddings
    assert kept > 0
    assert allocated() - before <= kept + MIB


def test_no_full_size_logits_are_copied_to_the_host(
    backend: LocalBackend, image: np.ndarray
) -> None:
    with Crossings() as crossings:
        predict(backend, image, 40)
    down = sum(one.nbytes for one in crossings.between("cuda", "cpu"))
    assert 40 * MASK_BYTES <= down <= 40 * (MASK_BYTES + 4) + 1024  # the least: all was recorded
    large = [one for one in crossings.between("cpu", "cuda") if one.nbytes > MIB]
    assert {one.dtype for one in large} == {torch.uint8}


def test_a_batch_that_does_not_fit_is_halved(
    backend: LocalBackend, image: np.ndarray, cap: Any, attempts: list[int]
) -> None:
    expected = predict(backend, image, 60)
    whole = max(attempts)
    attempts.clear()
    cap(256 * MIB)
    answers = predict(backend, image, 60)
    assert max(attempts) == whole
    assert min(attempts) <= whole // 2
    for one, other in zip(answers, expected, strict=True):
        assert one.score == pytest.approx(other.score, abs=1e-4)
        assert abs(one.mask().crop.sum() - other.mask().crop.sum()) <= 0.005 * WIDTH * HEIGHT


@pytest.mark.parametrize("stage", ["encoding", "decoding"])
def test_too_little_for_one_prompt_is_one_error_that_keeps_nothing(
    stage: str, backend: LocalBackend, image: np.ndarray, cap: Any, attempts: list[int]
) -> None:
    if stage == "decoding":
        backend.embed(image, version=VERSION)
    cap(0)
    before = allocated()
    with pytest.raises(ModelError, match=r"^SAM 2 hiera_tiny ran out of memory on cuda:0\. Use"):
        predict(backend, image, 60)
    assert (attempts[-1:] == [1]) is (stage == "decoding")
    gc.collect()
    assert allocated() <= before + MIB
    torch.cuda.set_per_process_memory_fraction(1.0, DEVICE)
    assert len(predict(backend, image, 60)) == 60
