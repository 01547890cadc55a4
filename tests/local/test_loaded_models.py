"""Loaded models stay within a budget of bytes, and a model in use stays loaded."""

from __future__ import annotations

import gc
import os
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sam2_block import Segmenter, process_state
from sam2_block.backends.local import local_backend as backend_module
from sam2_block.backends.local.local_backend import LocalBackend
from sam2_block.backends.local.models import model_registry
from sam2_block.backends.local.models.model_registry import ModelRegistry
from sam2_block.backends.local.models.model_size import tensor_bytes
from sam2_block.compute.compute_target import ComputeTarget
from sam2_block.errors import ForkError
from sam2_block.prompts import Prompt
from sam2_block.settings import LocalSettings

A, B, C = "hiera_tiny", "hiera_small", "hiera_large"
MODEL_BYTES = 4000
BOX = [Prompt(box_xyxy=(10.0, 10.0, 60.0, 60.0))]


class Network:
    """Stands in for a network, and takes `MODEL_BYTES`."""

    def __init__(self) -> None:
        self.weights = torch.zeros(MODEL_BYTES // 4)


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Load stand-ins; return a list that grows with the version of each."""
    versions: list[str] = []

    def fetch(version: str, settings: LocalSettings) -> Path:
        path = tmp_path / version
        if not path.exists():
            path.write_bytes(bytes(MODEL_BYTES))
        return path

    def load(version: str, *_: Any) -> Any:
        versions.append(version)
        return object()

    monkeypatch.setattr(model_registry, "fetch_checkpoint", fetch)
    monkeypatch.setattr(model_registry, "load_model", load)
    monkeypatch.setattr(model_registry, "make_network", lambda model, compute: Network())
    return versions


@pytest.fixture
def models() -> ModelRegistry:
    return ModelRegistry()


def room_for(count: int, **settings: Any) -> LocalSettings:
    return LocalSettings(device="cpu", model_bytes=count * MODEL_BYTES, **settings)


@pytest.mark.parametrize(
    ("room", "wanted", "loaded"),
    [
        pytest.param(3, [A, B, C, A, B, C], [A, B, C], id="all have room"),
        pytest.param(2, [A, B, A, C, A, B], [A, B, C, B], id="the least recently used goes"),
        pytest.param(1, [A, A, B, B, A], [A, B, A], id="one at a time"),
        pytest.param(0, [A, A, A, B, B], [A, B], id="the one used last stays"),
    ],
)
def test_budget(
    models: ModelRegistry, loads: list[str], room: int, wanted: list[str], loaded: list[str]
) -> None:
    for version in wanted:
        assert isinstance(models.get(version, room_for(room)).network, Network)
    assert loads == loaded


def test_room_is_made_before_a_model_is_loaded(
    models: ModelRegistry, loads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = weakref.ref(models.get(A, room_for(1)).network)
    at_load: list[Any] = []
    load = model_registry.load_model

    def watched(*args: Any) -> Any:
        gc.collect()
        at_load.append(first())
        return load(*args)

    monkeypatch.setattr(model_registry, "load_model", watched)
    models.get(B, room_for(1))
    assert at_load == [None]


def test_a_model_in_use_stays_loaded(models: ModelRegistry, loads: list[str]) -> None:
    with models.use(A, room_for(1)) as first:
        with models.use(B, room_for(1)), models.use(A, room_for(1)) as again:
            assert again is first
        models.get(C, room_for(1))
        models.get(A, room_for(1))
    assert loads == [A, B, C]


def test_after_its_last_use_it_counts(models: ModelRegistry, loads: list[str]) -> None:
    with models.use(A, room_for(1)):
        models.get(B, room_for(1))
    models.get(B, room_for(1))
    assert loads == [A, B]
    models.get(A, room_for(1))
    assert loads == [A, B, A]


def test_a_failed_call_is_no_use_any_more(models: ModelRegistry, loads: list[str]) -> None:
    with pytest.raises(ZeroDivisionError), models.use(A, room_for(1)):
        _ = 1 // 0
    models.get(B, room_for(1))
    models.get(A, room_for(1))
    assert loads == [A, B, A]


class User:
    pass


def test_a_model_goes_with_its_last_user(models: ModelRegistry, loads: list[str]) -> None:
    first, second = User(), User()
    for user in (first, second):
        with models.use(A, room_for(9), user):
            pass
    with models.use(B, room_for(9), first):
        models.release(first)
        models.get(
            A,
            room_for(9),
        )
    assert loads == [A, B]
    with models.use(B, room_for(9), second):
        assert loads == [A, B, B]
    models.release(second)
    models.get(A, room_for(9))  # kept: it had a user that is never released
    assert loads == [A, B, B]


def test_a_closed_segmenter_frees_its_model(
    loads: list[str], monkeypatch: pytest.MonkeyPatch, coins: np.ndarray
) -> None:
    models = ModelRegistry()
    monkeypatch.setattr(backend_module, "MODELS", models)
    monkeypatch.setattr(process_state, "SHARED", process_state.SharedObjects())
    monkeypatch.setattr(backend_module, "encode", lambda *_: np.zeros(3))
    monkeypatch.setenv("SAM2_BLOCK_DEVICE", "cpu")
    segmenter, other = Segmenter(A), Segmenter(A)
    for one in (segmenter, other):
        one.backend.embed(coins, version=A)
    network = weakref.ref(models.get(A, LocalSettings(device="cpu")).network)
    backend = segmenter.backend
    assert backend.embeddings.nbytes > 0
    models.release(models)  # the call above
    segmenter.close()
    gc.collect()
    assert network() is not None
    other.close()
    gc.collect()
    assert network() is None
    assert backend.embeddings.nbytes == 0


def test_embeddings_of_an_unloaded_model_are_used_again_unless_its_file_changed(
    coins: np.ndarray,
    random_checkpoint: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = random_checkpoint("hiera_tiny")
    encodes: list[Any] = []
    monkeypatch.setattr(backend_module, "MODELS", ModelRegistry())
    encode = backend_module.encode
    monkeypatch.setattr(
        backend_module, "encode", lambda *args: (encodes.append(args), encode(*args))[1]
    )
    settings = LocalSettings(
        device="cpu", precision="fp32", checkpoint_dir=path.parent, model_bytes=0
    )
    backend = LocalBackend(settings)

    def count(version: str) -> int:
        backend.predict(coins, BOX, version=version, multimask_output=True)
        return len(encodes)

    assert [count(A), count("demo"), count(A), count("demo")] == [1, 2, 2, 2]
    later = path.stat().st_mtime_ns + 10**9
    os.utime(path, ns=(later, later))
    assert count(A) == 3


def test_bytes_of_a_model_count_shared_memory_once() -> None:
    layer = torch.nn.Linear(10, 10)

    class Holder:
        def __init__(self) -> None:
            self.layers = [layer, layer]
            self.view = layer.weight.detach()[:3]
            self.own = {"table": (torch.zeros(5),)}
            self.compute = ComputeTarget(torch.device("cpu"), "fp32")
            self.module, self.kind, self.me = torch, torch.Tensor, self

    assert tensor_bytes(Holder()) == (100 + 10 + 5) * 4


def test_bytes_of_the_demo() -> None:
    network = model_registry.MODELS.get(
        "demo", LocalSettings(device="cpu", precision="fp32")
    ).network
    patches = sum(parameter.nbytes for parameter in network._trunk._patches.parameters())
    assert (
        patches + network._prompt_encoder._point_embeddings.nbytes
        < tensor_bytes(network)
        < 100 * 2**20
    )


@pytest.mark.parametrize("device", ["auto", "cuda", "cuda:0"])
def test_cuda_in_a_forked_child_is_an_error_of_its_own(
    device: str, models: ModelRegistry, loads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "_is_in_bad_fork", lambda: True)
    monkeypatch.setattr(model_registry, "_cuda_devices", lambda: 1)
    with pytest.raises(ForkError, match=r"^CUDA cannot be used.*'spawn'.*SAM2_BLOCK_DEVICE=cpu"):
        models.get(A, LocalSettings(device=device))
    assert models.get(A, LocalSettings(device="cpu")).compute.device.type == "cpu"


def test_looking_for_cuda_where_there_is_none_is_no_bad_fork(
    models: ModelRegistry, loads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "_is_in_bad_fork", lambda: True)
    monkeypatch.setattr(model_registry, "_cuda_devices", lambda: 0)
    assert models.get(A, LocalSettings()).compute.device.type != "cuda"


def test_models_on_a_gpu_are_set_aside_in_a_child(
    models: ModelRegistry, loads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    models.get(A, room_for(9))
    with monkeypatch.context() as patched:
        on_gpu = ComputeTarget(torch.device("cuda", 0), "fp16")
        patched.setattr(model_registry, "choose_compute", lambda settings: on_gpu)
        network = weakref.ref(models.get(B, room_for(9)).network)
    with models.use(A, room_for(9)):
        models.reset_after_fork()
    gc.collect()
    assert network() is not None  # freeing it would call the driver
    assert [key[0] for key in models._entries] == [A]
