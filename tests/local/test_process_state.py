"""Masks are the same to the bit whatever other code in the process has done to PyTorch."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from sam2_block.backends.local import local_backend as backend_module
from sam2_block.backends.local.local_backend import LocalBackend
from sam2_block.backends.local.models import model_registry
from sam2_block.backends.local.models.checkpoint_file import read_checkpoint
from sam2_block.backends.local.models.model_registry import MODELS
from sam2_block.prompts import LabeledPoint, Prompt
from sam2_block.sam2.cpu import cpu_network as network_module
from sam2_block.sam2.sam2_modules import Sam2Modules
from sam2_block.settings import LocalSettings
from tests.local.process_states import STATES

PROMPTS = [
    Prompt(box_xyxy=(81, 39, 116, 74)),
    Prompt(points=(LabeledPoint(150, 50), LabeledPoint(20, 20, False))),
]

State = Callable[[], AbstractContextManager[Any]]


def masks(backend: LocalBackend, image: np.ndarray) -> list[tuple[float, bytes]]:
    return [
        (prediction.score, prediction.logits.tobytes())
        for multimask in (True, False)
        for prediction in backend.predict(
            image, PROMPTS, version="demo", multimask_output=multimask
        )
    ]


@pytest.fixture(autouse=True)
def no_models() -> Iterator[None]:
    """Load every model anew, and keep none."""
    MODELS.unload()
    yield
    MODELS.unload()


@pytest.fixture(scope="module")
def expected(coins: np.ndarray) -> dict[str, Any]:
    """What each network gives while the process is untouched."""
    made = {}
    for kind in ("cpu", "gpu"):
        with pytest.MonkeyPatch.context() as patched:
            if kind == "gpu":
                patched.setattr(network_module, "CpuNetwork", Sam2Modules)
            MODELS.unload()
            made[kind] = masks(LocalBackend(LocalSettings(device="cpu", precision="fp32")), coins)
    MODELS.unload()
    assert made["cpu"] != made["gpu"]  # equal up to rounding only: else one was tested twice
    return made


def in_state_during(name: str, module: Any, state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """Enter the state when a function of a module begins, and leave it when it ends."""
    function = getattr(module, name)

    def patched(*args: Any, **options: Any) -> Any:
        with state():
            return function(*args, **options)

    monkeypatch.setattr(module, name, patched)


MOMENTS: dict[str, tuple[Any, str] | None] = {
    "before all": None,
    "while the model is loaded": (model_registry, "load_model"),
    "while it is made ready": (model_registry, "make_network"),
    "while the image is encoded": (backend_module, "encode"),
    "while prompts are decoded": (backend_module, "decode"),
}


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("state", STATES)
def test_masks_do_not_depend_on_it(
    state: str, moment: str, expected: Any, coins: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = LocalBackend(LocalSettings(device="cpu", precision="fp32"))
    with monkeypatch.context() as patched:
        during = MOMENTS[moment]
        if during:
            in_state_during(during[1], during[0], STATES[state], patched)
        with contextlib.nullcontext() if during else STATES[state]():
            assert masks(backend, coins) == expected["cpu"]
    # Nothing that was made meanwhile, model or embedding, differs later on.
    assert masks(backend, coins) == expected["cpu"]


@pytest.mark.parametrize("state", STATES)
def test_masks_of_the_network_for_gpus_do_not_depend_on_it(
    state: str, expected: Any, coins: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network_module, "CpuNetwork", Sam2Modules)
    backend = LocalBackend(LocalSettings(device="cpu", precision="fp32"))
    with STATES[state]():
        assert masks(backend, coins) == expected["gpu"]
    assert masks(backend, coins) == expected["gpu"]


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
@pytest.mark.parametrize("state", STATES)
def test_files_are_read_onto_the_cpu_as_they_are(state: str, kind: str, tmp_path: Path) -> None:
    weights = {"half": torch.ones(2, dtype=torch.bfloat16), "single": torch.arange(3.0)}
    path = tmp_path / f"weights.{kind}"
    if kind == "safetensors":
        save_file(weights, path, metadata={"config": "{}"})
    else:
        torch.save(weights, path, _use_new_zipfile_serialization=kind == "zip")
    with STATES[state]():
        _, found = read_checkpoint(path)
    for name, tensor in weights.items():
        assert found[name].device.type == "cpu"
        assert found[name].dtype is tensor.dtype
        assert torch.equal(found[name], tensor)


def test_loading_leaves_random_numbers_alone() -> None:
    torch.manual_seed(7)
    before = torch.get_rng_state()
    MODELS.get("demo", LocalSettings(device="cpu", precision="fp32"))
    assert torch.equal(torch.get_rng_state(), before)


def test_one_dnn_may_be_switched_off_later(coins: np.ndarray) -> None:
    backend = LocalBackend(LocalSettings(device="cpu"))
    usual = masks(backend, coins)
    backend.embeddings.clear()
    with torch.backends.mkldnn.flags(enabled=False):
        for (score, _), (usual_score, _) in zip(masks(backend, coins), usual, strict=True):
            assert score == pytest.approx(usual_score, abs=0.05)


FIRST_USE = """
import sys, torch
from tests.local.process_states import STATES
with STATES[sys.argv[1]]():
    import numpy as np
    from sam2_block import Segmenter
    image = np.zeros((40, 60, 3), np.uint8)
    image[10:30, 20:40] = 200
    first = Segmenter("demo").segment(image, points=[(30, 20)])
from sam2_block.sam2.cpu import linear
from sam2_block.backends.local.models.model_registry import MODELS
assert linear._PRODUCT.__name__ == linear._choose_product().__name__
MODELS.unload()
later = Segmenter("demo")
later.backend.embeddings.clear()
later = later.segment(image, points=[(30, 20)])
assert first.data["sam2_score"] == later.data["sam2_score"]
assert (first.mask == later.mask).all()
"""


@pytest.mark.parametrize(
    "state", ["default type float64", "default device meta", "everything on meta"]
)
def test_a_process_may_begin_in_that_state(state: str) -> None:
    """What is decided when modules are imported, such as what multiplies, is decided the same."""
    done = subprocess.run([sys.executable, "-c", FIRST_USE, state], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
