"""Which device and precision the settings resolve to."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest
import torch

from sam2_block.backends.local import devices
from sam2_block.backends.local.devices import choose_compute
from sam2_block.errors import SettingsError
from sam2_block.settings import LocalSettings


@pytest.fixture
def no_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.fixture(autouse=True)
def a_cpu_that_multiplies_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_can_multiply_bf16", lambda: True)


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    capabilities = {0: (9, 0), 1: (7, 5)}
    monkeypatch.setattr(
        torch.cuda, "get_device_capability", lambda device: capabilities[device.index]
    )


@pytest.mark.parametrize(
    ("device", "precision", "expected"),
    [
        ("auto", "auto", ("cpu", "fp32")),
        ("cpu", "auto", ("cpu", "fp32")),
        ("cpu", "bf16", ("cpu", "bf16")),
    ],
)
@pytest.mark.usefixtures("no_accelerator")
def test_on_a_cpu(device: str, precision: str, expected: tuple[str, str]) -> None:
    compute = choose_compute(LocalSettings(device=device, precision=precision))
    assert (str(compute.device), compute.precision) == expected


@pytest.mark.parametrize(
    ("device", "precision", "expected"),
    [
        ("auto", "auto", ("cuda:0", "bf16")),
        ("cuda", "auto", ("cuda:0", "bf16")),
        ("cuda:1", "auto", ("cuda:1", "fp16")),  # no bfloat16 in hardware before 8.0
        ("cuda:1", "fp32", ("cuda:1", "fp32")),
        ("cpu", "auto", ("cpu", "fp32")),
    ],
)
@pytest.mark.usefixtures("two_gpus")
def test_with_gpus(device: str, precision: str, expected: tuple[str, str]) -> None:
    compute = choose_compute(LocalSettings(device=device, precision=precision))
    assert (str(compute.device), compute.precision) == expected


@pytest.mark.parametrize(
    ("device", "precision", "message"),
    [
        ("cuda", "auto", r"SAM2_BLOCK_DEVICE.*'cuda'.*found 0 CUDA devices.*auto or cpu"),
        ("mps", "auto", r"SAM2_BLOCK_DEVICE: mps is not available"),
        ("cpu", "fp16", r"SAM2_BLOCK_PRECISION: fp16 needs.*Use fp32 or bf16"),
    ],
)
@pytest.mark.usefixtures("no_accelerator")
def test_what_is_not_there_is_refused(device: str, precision: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        choose_compute(LocalSettings(device=device, precision=precision))


@pytest.mark.usefixtures("two_gpus")
def test_a_gpu_that_is_not_there_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"'cuda:2' and found 2 CUDA devices"):
        choose_compute(LocalSettings(device="cuda:2"))


def test_bf16_is_refused_where_its_product_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_can_multiply_bf16", lambda: False)
    with pytest.raises(SettingsError, match=r"SAM2_BLOCK_PRECISION: bf16 .* Use fp32 or auto\."):
        choose_compute(LocalSettings(device="cpu", precision="bf16"))


# One process each: oneDNN reads its variables once.
CAPPED = """
import numpy as np
from sam2_block.backends.local.local_backend import LocalBackend
from sam2_block.errors import SettingsError
from sam2_block.prompts import Prompt
from sam2_block.settings import LocalSettings

def segment(precision):
    image, box = np.zeros((40, 60, 3), np.uint8), Prompt(box_xyxy=(10, 10, 30, 30))
    backend = LocalBackend(LocalSettings(device="cpu", precision=precision))
    assert len(backend.predict(image, [box], version="demo", multimask_output=True)) == 1

segment("auto")
try:
    segment("bf16")
    print("works")
except SettingsError as error:
    print(error)
"""


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="caps are of x86")
@pytest.mark.parametrize("cap", ["SSE41", "AVX2", "AVX512_CORE"])
def test_a_capped_one_dnn_gives_masks_or_one_error(cap: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CAPPED],
        capture_output=True,
        text=True,
        env={**os.environ, "ONEDNN_MAX_CPU_ISA": cap},
    )
    assert done.returncode == 0, done.stderr
    last = done.stdout.splitlines()[-1]
    assert last == "works" or last.startswith("SAM2_BLOCK_PRECISION: bf16 products are not")


def test_an_applications_autocast_does_not_reach_the_model() -> None:
    compute = choose_compute(LocalSettings(device="cpu", precision="fp32"))
    layer, values = torch.nn.Linear(4, 4), torch.ones(1, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(values).dtype is torch.bfloat16
        with compute.autocast():
            assert layer(values).dtype is torch.float32


def test_bf16_is_used_when_asked_for_and_ends_with_the_call() -> None:
    compute = choose_compute(LocalSettings(device="cpu", precision="bf16"))
    layer, values = torch.nn.Linear(4, 4), torch.ones(1, 4)
    with compute.autocast():
        assert layer(values).dtype is torch.bfloat16
    assert layer(values).dtype is torch.float32


FAKE = """
from torch._subclasses.fake_tensor import FakeTensorMode
from sam2_block.backends.local import devices

with FakeTensorMode():
    inside = devices._can_multiply_bf16()
devices._can_multiply_bf16.cache_clear()
print(inside is devices._can_multiply_bf16())
"""


def test_the_callers_fake_tensors_do_not_decide_for_the_process() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FAKE], check=True, capture_output=True, text=True, timeout=120
    )
    assert done.stdout == "True\n"
