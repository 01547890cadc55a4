from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sam2_block.errors import SettingsError
from sam2_block.settings import DEFAULT_CACHE_BYTES, Settings


def test_defaults() -> None:
    assert Settings.from_environment({}) == Settings("auto", "auto", 512 * 1024**2, None)
    assert Settings() == Settings.from_environment({})


@pytest.mark.parametrize(
    ("variable", "text", "name", "value"),
    [
        ("SAM2_BLOCK_DEVICE", "cpu", "device", "cpu"),
        ("SAM2_BLOCK_DEVICE", " CUDA:1 ", "device", "cuda:1"),
        ("SAM2_BLOCK_DEVICE", "mps", "device", "mps"),
        ("SAM2_BLOCK_PRECISION", "BF16", "precision", "bf16"),
        ("SAM2_BLOCK_PRECISION", "fp32", "precision", "fp32"),
        ("SAM2_BLOCK_CACHE_BYTES", "0", "cache_bytes", 0),
        ("SAM2_BLOCK_CACHE_BYTES", " 1048576 ", "cache_bytes", 1048576),
        ("SAM2_BLOCK_CHECKPOINT_DIR", "/weights", "checkpoint_dir", Path("/weights")),
        ("SAM2_BLOCK_CHECKPOINT_DIR", "~/weights", "checkpoint_dir", Path.home() / "weights"),
        # Blank counts as unset: `docker run -e NAME=` and empty lines of an env file.
        ("SAM2_BLOCK_DEVICE", "  ", "device", "auto"),
        ("SAM2_BLOCK_CACHE_BYTES", "", "cache_bytes", DEFAULT_CACHE_BYTES),
        ("SAM2_BLOCK_CHECKPOINT_DIR", "", "checkpoint_dir", None),
    ],
)
def test_variable_sets_its_setting_and_no_other(
    variable: str, text: str, name: str, value: Any
) -> None:
    assert Settings.from_environment({variable: text}) == Settings(**{name: value})


def test_process_environment_is_read_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAM2_BLOCK_CACHE_BYTES", "77")
    assert Settings.from_environment().cache_bytes == 77


@pytest.mark.parametrize(
    ("variable", "text", "expected"),
    [
        ("DEVICE", "gpu", "auto, cpu, cuda, cuda:N or mps"),
        ("DEVICE", "cuda:x", "auto, cpu, cuda, cuda:N or mps"),
        ("DEVICE", "cuda:-1", "auto, cpu, cuda, cuda:N or mps"),
        ("PRECISION", "half", "one of auto, fp32, bf16, fp16"),
        ("CACHE_BYTES", "512MiB", "a whole number of bytes, 0 or more"),
        ("CACHE_BYTES", "-1", "a whole number of bytes, 0 or more"),
        ("CACHE_BYTES", "1.5", "a whole number of bytes, 0 or more"),
    ],
)
def test_bad_variable_is_named(variable: str, text: str, expected: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment({f"SAM2_BLOCK_{variable}": text})
    assert str(caught.value) == f"SAM2_BLOCK_{variable}: expected {expected}; got {text!r}."


@pytest.mark.parametrize("device", ["cuda:", "auto:1"])
def test_half_written_device_is_refused(device: str) -> None:
    with pytest.raises(SettingsError, match=r"^SAM2_BLOCK_DEVICE: expected "):
        Settings.from_environment({"SAM2_BLOCK_DEVICE": device})


def test_override_replaces_some_and_parses_text() -> None:
    settings = Settings(device="cpu", precision="fp32")
    changed = settings.override(cache_bytes="12", checkpoint_dir="/w")
    assert changed == Settings("cpu", "fp32", 12, Path("/w"))
    assert settings == Settings(device="cpu", precision="fp32")
    assert changed.override(checkpoint_dir=None).checkpoint_dir is None


def test_override_of_what_is_no_setting() -> None:
    with pytest.raises(SettingsError, match=r"^no such setting: cache_mb, gpu\.$"):
        Settings().override(gpu=1, cache_mb=2, device="cpu")


def test_equal_settings_share_what_is_keyed_by_them() -> None:
    assert hash(Settings(device="cpu")) == hash(Settings().override(device=" CPU "))
