"""Memory for what is computed a prompt, used again and again.

Fresh memory of these sizes is handed over by the system page by page at the first touch, which
takes as long as the arithmetic on it.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator

import torch
from torch import Tensor

# Most that are kept: one serves one call at a time.
_KEPT = 4


class Workspaces:
    """Lends tensors of one shape. Thread-safe.

    Args:
        shape: Of each.
    """

    def __init__(self, *shape: int) -> None:
        self._shape = shape
        self._free: deque[Tensor] = deque(maxlen=_KEPT)

    @contextlib.contextmanager
    def lent(self) -> Iterator[Tensor]:
        """Lend one, its content undefined."""
        try:
            workspace = self._free.pop()
        except IndexError:
            workspace = torch.empty(self._shape)
        try:
            yield workspace
        finally:
            self._free.append(workspace)
