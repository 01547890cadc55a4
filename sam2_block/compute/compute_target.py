"""The device and the precision that a model runs with."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import torch

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class ComputeTarget:
    """A device and the precision of the matrix products on it."""

    device: torch.device
    precision: str

    @property
    def dtype(self) -> torch.dtype:
        """The type of the operands of matrix products."""
        return _DTYPES[self.precision]

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """Return the autocast context in which the model runs, for the current thread only.

        Weights stay in single precision. The context overrides an application's own autocast.
        """
        return self._autocast(self.precision)

    def full_precision(self) -> contextlib.AbstractContextManager[object]:
        """Return the context for computations that are always in single precision."""
        return self._autocast("fp32")

    def _autocast(self, precision: str) -> contextlib.AbstractContextManager[object]:
        if precision != "fp32":
            return torch.autocast(self.device.type, dtype=_DTYPES[precision])
        if torch.amp.is_autocast_available(self.device.type):
            return torch.autocast(self.device.type, enabled=False)
        return contextlib.nullcontext()
