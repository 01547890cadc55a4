"""Which device and precision the settings resolve to."""

from __future__ import annotations

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
    assert choose_compute(Settings(device="cpu")).precision == "bf16"
    assert choose_compute(Settings(device="cpu", precision="fp32")).precision == "fp32"


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
