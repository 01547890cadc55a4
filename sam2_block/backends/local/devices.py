"""Choose the device and the precision that SAM 2 runs with."""

from __future__ import annotations

import functools

import torch

from sam2_block.compute.compute_pool import COMPUTE_POOL
from sam2_block.compute.compute_target import ComputeTarget
from sam2_block.errors import SettingsError
from sam2_block.settings import LocalSettings


def choose_compute(settings: LocalSettings) -> ComputeTarget:
    """Resolve `auto` from the hardware at hand.

    Precision `auto` is bfloat16 on CUDA devices that multiply it in hardware (compute capability
    8.0 or later), half precision on older ones, and single precision elsewhere. On a CPU, bfloat16
    halves the time of a new image, but selects a different candidate for about one mask in two
    thousand, so the operator has to choose it.

    Raises:
        SettingsError: The device is not available, or does not support the precision.
    """
    device = _device(settings.device)
    precision = settings.precision
    if precision == "auto":
        precision = _native_precision(device)
    if precision == "fp16" and device.type == "cpu":
        raise SettingsError(
            "SAM2_BLOCK_PRECISION: fp16 needs a cuda or mps device; the device is cpu."
            " Use fp32 or bf16."
        )
    if precision == "bf16" and device.type == "cpu" and not _can_multiply_bf16():
        raise SettingsError(
            "SAM2_BLOCK_PRECISION: bf16 products are not available on this CPU: PyTorch's oneDNN"
            " refuses them (ONEDNN_MAX_CPU_ISA may cap it). Use fp32 or auto."
        )
    if precision == "bf16" and device.type == "cuda" and _native_precision(device) == "fp16":
        raise SettingsError(
            f"SAM2_BLOCK_PRECISION: bf16 needs a CUDA device of compute capability 8.0 or later;"
            f" {device} is older. Use fp16 or fp32."
        )
    return ComputeTarget(device, precision)


def _device(name: str) -> torch.device:
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", torch.cuda.current_device())
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        index = device.index if device.index is not None else 0
        if index >= count:
            raise SettingsError(
                f"SAM2_BLOCK_DEVICE: expected an available device; got {name!r} and found"
                f" {count} CUDA devices. Use auto or cpu."
            )
        return torch.device("cuda", index)
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise SettingsError("SAM2_BLOCK_DEVICE: mps is not available here. Use auto or cpu.")
    return device


def _native_precision(device: torch.device) -> str:
    if device.type != "cuda":
        return "fp32"
    major, _ = torch.cuda.get_device_capability(device)
    return "bf16" if major >= 8 else "fp16"


@functools.cache
def _can_multiply_bf16() -> bool:
    """Whether the CPU network's matrix product works in bfloat16; tried once for the process.

    The trial runs in the compute pool: autocast or fake tensors of the caller's thread would
    otherwise decide the result for the whole process.
    """
    return COMPUTE_POOL.run(torch.device("cpu"), _try_bf16_product)


def _try_bf16_product() -> bool:
    from sam2_block.sam2.cpu.linear import product

    x, weight, bias = (
        torch.tensor(values, dtype=torch.bfloat16, device="cpu")
        for values in ([[1.0] * 32] * 8, [[0.5] * 32] * 16, [1.0] * 16)
    )
    try:
        with torch.inference_mode():
            return bool((product(x, weight, bias) == 17.0).all())
    except RuntimeError:
        return False
