"""Which device and precision the settings resolve to."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from sam2_block.backends.local import devices
from sam2_block.backends.local.devices import choose_compute
from sam2_block.errors import SettingsError
from sam2_block.settings import Settings


@pytest.fixture
def no_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.fixture(autouse=True)
def a_cpu_without_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_multiplies_bf16", lambda _: False)
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
    compute = choose_compute(Settings(device=device, precision=precision))
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
    compute = choose_compute(Settings(device=device, precision=precision))
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
        choose_compute(Settings(device=device, precision=precision))


@pytest.mark.usefixtures("two_gpus")
def test_a_gpu_that_is_not_there_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"'cuda:2' and found 2 CUDA devices"):
        choose_compute(Settings(device="cuda:2"))


@pytest.mark.usefixtures("no_accelerator")
def test_auto_on_a_cpu_is_bf16_where_it_is_multiplied_in_hardware(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(devices, "_multiplies_bf16", lambda _: True)
    monkeypatch.setattr(devices, "_bf16_is_capped", lambda _: False)
    assert choose_compute(Settings(device="cpu")).precision == "bf16"
    assert choose_compute(Settings(device="cpu", precision="fp32")).precision == "fp32"


@pytest.mark.parametrize(
    ("capped", "works", "expected"),
    [(False, True, "bf16"), (True, True, "fp32"), (False, False, "fp32"), (True, False, "fp32")],
)
@pytest.mark.usefixtures("no_accelerator")
def test_auto_takes_bf16_only_where_one_dnn_may_and_can(
    capped: bool, works: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "_multiplies_bf16", lambda _: True)
    monkeypatch.setattr(devices, "_bf16_is_capped", lambda _: capped)
    monkeypatch.setattr(devices, "_can_multiply_bf16", lambda: works)
    assert choose_compute(Settings(device="cpu")).precision == expected


def test_bf16_is_refused_where_its_product_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_can_multiply_bf16", lambda: False)
    with pytest.raises(SettingsError, match=r"SAM2_BLOCK_PRECISION: bf16 .* Use fp32 or auto\."):
        choose_compute(Settings(device="cpu", precision="bf16"))


@pytest.mark.parametrize("variable", ["ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"])
@pytest.mark.parametrize(
    ("cap", "capped"),
    [
        ("", False),
        ("DEFAULT", False),
        ("ALL", False),
        ("AVX512_CORE_BF16", False),
        ("AVX512_CORE_AMX", False),
        ("AVX10_1_512", False),
        ("SSE41", True),
        ("AVX2", True),
        ("avx2_vnni ", True),
        ("AVX2_VNNI_2", True),
        ("AVX512_CORE", True),
        ("AVX512_CORE_VNNI", True),
    ],
)
def test_which_caps_of_one_dnn_leave_out_bf16(variable: str, cap: str, capped: bool) -> None:
    assert devices._bf16_is_capped({variable: cap}) is capped


def test_of_two_caps_the_newer_name_counts() -> None:
    both = {"ONEDNN_MAX_CPU_ISA": "ALL", "DNNL_MAX_CPU_ISA": "AVX2"}
    assert not devices._bf16_is_capped(both)


# One process each: oneDNN reads its variables once.
CAPPED = """
import numpy as np
from sam2_block.backends.local.backend import LocalBackend
from sam2_block.errors import SettingsError
from sam2_block.prompts import Prompt
from sam2_block.settings import Settings

def segment(precision):
    image, box = np.zeros((40, 60, 3), np.uint8), Prompt(box_xyxy=(10, 10, 30, 30))
    backend = LocalBackend(Settings(device="cpu", precision=precision))
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


def test_which_cpus_multiply_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()

    def cpu(**answers: bool) -> SimpleNamespace:
        return SimpleNamespace(
            **{name: lambda answer=answer: answer for name, answer in answers.items()}
        )

    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    asked = devices._multiplies_bf16
    assert asked(cpu(_is_avx512_bf16_supported=True, _is_amx_tile_supported=False))
    assert asked(cpu(_is_avx512_bf16_supported=False, _is_amx_tile_supported=True))
    assert not asked(cpu(_is_avx512_bf16_supported=False, _is_amx_tile_supported=False))
    assert not asked(cpu())  # early releases of PyTorch, other processors
    assert isinstance(asked(torch.cpu), bool)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert not asked(cpu(_is_avx512_bf16_supported=True))


def test_an_applications_autocast_does_not_reach_the_model() -> None:
    compute = choose_compute(Settings(device="cpu", precision="fp32"))
    layer, values = torch.nn.Linear(4, 4), torch.ones(1, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(values).dtype is torch.bfloat16
        with compute.autocast():
            assert layer(values).dtype is torch.float32


def test_bf16_is_used_when_asked_for_and_ends_with_the_call() -> None:
    compute = choose_compute(Settings(device="cpu", precision="bf16"))
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
