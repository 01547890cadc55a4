"""What the operator of a process decides, as opposed to what a workflow may ask for."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from sam2_block.errors import SettingsError

ENV_PREFIX = "SAM2_BLOCK_"
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
DEFAULT_CACHE_BYTES = 512 * 1024**2


@dataclass(frozen=True)
class Settings:
    """The operator's settings; each is the environment variable `SAM2_BLOCK_<NAME>`.

    Attributes:
        device: `auto` (CUDA, then MPS, then CPU), or a torch device such as `cpu` or `cuda:1`.
        precision: `auto` (chosen from the device), `fp32`, `bf16` or `fp16`.
        cache_bytes: Most bytes that the embeddings of encoded images may take; 0 keeps none.
        checkpoint_dir: Folder with Meta's checkpoints under Meta's own file names, or None.
    """

    device: str = "auto"
    precision: str = "auto"
    cache_bytes: int = DEFAULT_CACHE_BYTES
    checkpoint_dir: Path | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read every setting; one that is unset or blank has its default.

        Args:
            environment: Variables to read in place of the process's own.

        Raises:
            SettingsError: A variable has a value that its setting cannot take.
        """
        environment = os.environ if environment is None else environment
        values: dict[str, Any] = {}
        for field in fields(cls):
            text = environment.get(ENV_PREFIX + field.name.upper(), "").strip()
            if text:
                values[field.name] = text
        return cls().override(**values)

    def override(self, **values: Any) -> Settings:
        """Return a copy with some settings replaced; text is parsed as in the environment.

        Raises:
            SettingsError: A value cannot be taken, or there is no such setting.
        """
        unknown = set(values) - set(_PARSERS)
        if unknown:
            raise SettingsError(f"no such setting: {', '.join(sorted(unknown))}.")
        return replace(self, **{name: _PARSERS[name](value) for name, value in values.items()})


def _device(value: Any) -> str:
    device = str(value).strip().lower()
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", device):
        raise _refusal("device", "auto, cpu, cuda, cuda:N or mps", value)
    return device


def _precision(value: Any) -> str:
    precision = str(value).strip().lower()
    if precision not in PRECISIONS:
        raise _refusal("precision", f"one of {', '.join(PRECISIONS)}", value)
    return precision


def _cache_bytes(value: Any) -> int:
    try:
        count = int(str(value).strip())
    except ValueError:
        count = -1
    if count < 0:
        raise _refusal("cache_bytes", "a whole number of bytes, 0 or more", value)
    return count


def _checkpoint_dir(value: Any) -> Path | None:
    return None if value is None else Path(value).expanduser()


_PARSERS: dict[str, Callable[[Any], Any]] = {
    "device": _device,
    "precision": _precision,
    "cache_bytes": _cache_bytes,
    "checkpoint_dir": _checkpoint_dir,
}


def _refusal(name: str, expected: str, came: object) -> SettingsError:
    return SettingsError(f"{ENV_PREFIX}{name.upper()}: expected {expected}; got {came!r}.")
