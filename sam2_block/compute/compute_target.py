"""A device and the precision on it."""

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
        """The type of what is multiplied."""
        return _DTYPES[self.precision]

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """Return the context in which the model runs; it ends with the call, in this thread only.

        Weights stay in single precision. An application's own autocast does not reach the model.
        """
        return self._autocast(self.precision)

    def full_precision(self) -> contextlib.AbstractContextManager[object]:
        """Return the context for what is to be computed in single precision whatever was chosen."""
        return self._autocast("fp32")

    def _autocast(self, precision: str) -> contextlib.AbstractContextManager[object]:
        if precision != "fp32":
            return torch.autocast(self.device.type, dtype=_DTYPES[precision])
        if torch.amp.is_autocast_available(self.device.type):
            return torch.autocast(self.device.type, enabled=False)
        return contextlib.nullcontext()
