"""What is decoded together, and what comes of answers that cannot be used."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from sam2_block.backends.local import local_backend as backend_module
from sam2_block.backends.local.local_backend import LocalBackend
from sam2_block.backends.local.models import checkpoint_file as file_module
from sam2_block.backends.local.models import model_registry as registry_module
from sam2_block.backends.local.models.model_registry import MODELS
from sam2_block.errors import ModelError
from sam2_block.prompts import Prompt
from sam2_block.sam2.cpu.cached_image import CachedImage
from sam2_block.sam2.cpu.cpu_network import CpuNetwork
from sam2_block.sam2.sam2_modules import ModulesCandidates, ModulesEmbedding
from sam2_block.settings import LocalSettings

BOX = [Prompt(box_xyxy=(10, 10, 60, 60))]


@pytest.mark.parametrize(
    ("boxes", "most", "max_cores", "sizes"),
    [
        (10, 6, 1, [5, 5]),
        (10, 10, 1, [10]),
        (7, 3, 1, [2, 2, 3]),
        (1, 6, 1, [1]),
        (10, 10, 2, [5, 5]),  # as many for each core
        (7, 3, 2, [1, 2, 2, 2]),
        (3, 6, 4, [3]),  # fewer prompts than cores: their strips go to all of them
        (3, 1, 2, [1, 1, 1]),
    ],
)
def test_batches_are_few_and_of_like_size(
    boxes: int,
    most: int,
    max_cores: int,
    sizes: list[int],
    coins: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    decode, found = CpuNetwork.decode, []

    def watched(network: Any, embedding: Any, prompts: Any) -> Any:
        found.append(len(prompts))
        return decode(network, embedding, prompts)

    monkeypatch.setattr(CpuNetwork, "decode", watched)
    monkeypatch.setattr(CpuNetwork, "batch_size", lambda *_: most)
    LocalBackend(LocalSettings(device="cpu", max_cores=max_cores)).predict(
        coins, BOX * boxes, version="demo", multimask_output=True
    )
    assert sorted(found) == sizes


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("output", ["score", "mask"])
@pytest.mark.parametrize(
    ("precision", "remedy"), [("fp32", "another copy"), ("bf16", "SAM2_BLOCK_PRECISION=fp32")]
)
def test_outputs_that_are_not_finite_are_an_error_and_no_missing_row(
    value: float,
    output: str,
    precision: str,
    remedy: str,
    coins: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    masks, scores = torch.zeros(1, 4, 8, 8), torch.ones(1, 4)
    if output == "score":
        scores[:] = value
    else:
        masks[..., 7, 7] = value
    monkeypatch.setattr(CpuNetwork, "decode", lambda *_: ModulesCandidates(scores, masks))
    backend = LocalBackend(LocalSettings(device="cpu", precision=precision))
    with pytest.raises(ModelError, match=f"{output} that is not a finite.* {precision} .*{remedy}"):
        backend.predict(coins, BOX, version="demo", multimask_output=True)


TOO_MUCH = {
    "a GPU's": lambda *_, **__: _raise(torch.cuda.OutOfMemoryError("CUDA out of memory")),
    "PyTorch's on a CPU": lambda *_, **__: torch.empty(2**50),
    "NumPy's": lambda *_, **__: np.empty(2**50),
}


def _raise(error: Exception) -> None:
    raise error


@pytest.mark.parametrize("kind", TOO_MUCH)
@pytest.mark.parametrize("place", ["load_model", "_read_safetensors", "encode", "decode"])
def test_running_out_of_memory_says_what_to_do(
    kind: str, place: str, coins: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    modules = {"load_model": registry_module, "_read_safetensors": file_module}
    monkeypatch.setattr(modules.get(place, backend_module), place, TOO_MUCH[kind])
    MODELS.unload()
    backend = LocalBackend(LocalSettings(device="cpu"))
    with pytest.raises(ModelError, match=r"demo ran out of memory on cpu\. Use a smaller version"):
        backend.predict(coins, BOX, version="demo", multimask_output=True)


def test_half_precision_gives_nearly_the_same_masks(coins: np.ndarray) -> None:
    boxes = [Prompt(box_xyxy=(x, y, x + 60.0, y + 60.0)) for x in (20, 200) for y in (20, 150)]
    exact, half = (
        LocalBackend(LocalSettings(device="cpu", precision=precision)).predict(
            coins, boxes, version="demo", multimask_output=True
        )
        for precision in ("fp32", "bf16")
    )
    for one, other in zip(exact, half, strict=True):
        assert one.score == pytest.approx(other.score, abs=0.05)
        drawn = np.zeros((2, *coins.shape[:2]), dtype=np.bool_)
        one.mask().paste_into(drawn[0])
        other.mask().paste_into(drawn[1])
        assert (drawn[0] & drawn[1]).sum() / (drawn[0] | drawn[1]).sum() > 0.9


def test_an_embedding_that_is_not_finite_is_an_error_and_not_kept(
    coins: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = CpuNetwork.encode

    def damaged(network: Any, pixels: Any) -> Any:
        features = encode(network, pixels)
        features.stride_16[0, 3, 5] = torch.nan
        return features

    backend = LocalBackend(LocalSettings(device="cpu"))
    with monkeypatch.context() as patched:
        patched.setattr(CpuNetwork, "encode", damaged)
        with pytest.raises(ModelError, match="embedding that is not finite"):
            backend.embed(coins, version="demo")
    assert backend.embeddings.nbytes == 0
    backend.embed(coins, version="demo")
    assert backend.embeddings.nbytes > 0


@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_an_embedding_knows_whether_it_is_finite(kind: str) -> None:
    good, bad = torch.ones(1, 2), torch.tensor([[1.0, torch.inf]])
    for first, expected in ((good, True), (bad, False)):
        embedding: Any = (
            CachedImage(first, good, good, good, good)
            if kind == "cpu"
            else ModulesEmbedding(first, (good, good))
        )
        assert embedding.is_finite() is expected
