"""A GPU that has too little memory for a batch decodes it in halves, or says so once."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from sam2_block.backends.local.local_backend import LocalBackend
from sam2_block.errors import ModelError
from sam2_block.out_of_memory import is_memory_error, may_lack_device_memory
from sam2_block.prompts import Prompt
from sam2_block.sam2.cpu.cpu_network import CpuNetwork
from sam2_block.settings import LocalSettings

BOXES = [Prompt(box_xyxy=(10.0 + 5 * n, 10, 60.0 + 7 * n, 60.0 + n)) for n in range(10)]

OUT_OF_MEMORY = {
    "CUDA": torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    "the driver": RuntimeError("CUDA error: out of memory"),
    "cuBLAS": RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"),
    "MPS": RuntimeError("MPS backend out of memory (MPS allocated: 9.00 GB)"),
}
NO_ENGINE = RuntimeError("GET was unable to find an engine to execute this computation")


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Exception], list[int]]:
    """Return a function that limits the prompts of a batch, and lists those of each attempt."""

    def limit(max_prompts: int, error: Exception) -> list[int]:
        decode, attempts = CpuNetwork.decode, []

        def limited(network: Any, embedding: Any, prompts: Any) -> Any:
            attempts.append(len(prompts))
            if len(prompts) > max_prompts:
                raise error
            return decode(network, embedding, prompts)

        monkeypatch.setattr(CpuNetwork, "decode", limited)
        monkeypatch.setattr(CpuNetwork, "batch_size", lambda *_: 100)
        return attempts

    return limit


def predict(image: np.ndarray, prompts: list[Prompt] = BOXES) -> list[Any]:
    backend = LocalBackend(LocalSettings(device="cpu", precision="fp32", max_cores=1))
    return backend.predict(image, prompts, version="demo", multimask_output=True)


@pytest.mark.parametrize("error", [*OUT_OF_MEMORY.values(), NO_ENGINE])
def test_a_batch_that_does_not_fit_is_halved(
    error: Exception, coins: np.ndarray, sizes: Any
) -> None:
    whole = predict(coins)
    attempts = sizes(3, error)
    halved = predict(coins)
    assert attempts == [10, 5, 2, 3, 5, 2, 3]
    for one, other in zip(halved, whole, strict=True):
        assert one.score == pytest.approx(other.score, abs=1e-5)
        assert (one.x, one.y) == (other.x, other.y)
        np.testing.assert_allclose(one.logits, other.logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", OUT_OF_MEMORY)
def test_a_single_prompt_that_does_not_fit_is_one_error(
    kind: str, coins: np.ndarray, sizes: Any
) -> None:
    attempts = sizes(0, OUT_OF_MEMORY[kind])
    with pytest.raises(ModelError, match=r"^SAM 2 demo ran out of memory on cpu\. Use a smaller"):
        predict(coins)
    assert attempts == [10, 5, 2, 1]


def test_what_may_not_be_for_want_of_memory_is_not_said_to_be(
    coins: np.ndarray, sizes: Any
) -> None:
    sizes(0, NO_ENGINE)
    with pytest.raises(RuntimeError, match="unable to find an engine") as caught:
        predict(coins)
    assert caught.value is NO_ENGINE


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate"),
        MemoryError(),
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        ValueError("out of memory"),
    ],
)
def test_other_errors_are_raised_at_once(error: Exception, coins: np.ndarray, sizes: Any) -> None:
    attempts = sizes(3, error)
    with pytest.raises((ModelError, type(error))):
        predict(coins)
    assert attempts == [10]
    assert not may_lack_device_memory(error)


@pytest.mark.parametrize("kind", OUT_OF_MEMORY)
def test_a_gpus_want_of_memory_is_one_of_memory(kind: str) -> None:
    assert is_memory_error(OUT_OF_MEMORY[kind])


def test_an_error_that_is_kept_keeps_no_memory(
    coins: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[weakref.ref[torch.Tensor]] = []

    def exhausted(*_: Any) -> Any:
        activations = torch.zeros(8)
        held.append(weakref.ref(activations))
        raise torch.cuda.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(CpuNetwork, "decode", exhausted)
    with pytest.raises(ModelError) as caught:
        predict(coins, BOXES[:1])
    gc.collect()
    assert isinstance(caught.value.__cause__, torch.cuda.OutOfMemoryError)
    assert [reference() for reference in held] == [None]


def test_a_batch_that_failed_is_freed_before_its_halves_are_decoded(
    coins: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode, held = CpuNetwork.decode, []

    def limited(network: Any, embedding: Any, prompts: Any) -> Any:
        assert [reference() for reference in held] == [None] * len(held)
        activations = torch.zeros(8)
        held.append(weakref.ref(activations))
        if len(prompts) > 3:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        return decode(network, embedding, prompts)

    monkeypatch.setattr(CpuNetwork, "decode", limited)
    assert len(predict(coins)) == len(BOXES)
    assert len(held) > 1
