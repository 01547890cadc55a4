"""Which tensors go from one device to another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


@dataclass(frozen=True)
class Crossing:
    """A tensor as it arrives.

    Attributes:
        source: Type of the device that it comes from.
        target: Type of the device that it goes to.
    """

    source: str
    target: str
    dtype: torch.dtype
    nbytes: int


class Crossings(TorchDispatchMode):
    """Records, within its context and thread, every tensor that an operation moves."""

    def __init__(self) -> None:
        super().__init__()
        self._all: list[Crossing] = []

    def between(self, source: str, target: str) -> list[Crossing]:
        return [one for one in self._all if (one.source, one.target) == (source, target)]

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        outcome = func(*args, **(kwargs or {}))
        sources = {tensor.device.type for tensor in _tensors((args, kwargs))}
        for tensor in _tensors(outcome):
            target = tensor.device.type
            self._all += [
                Crossing(source, target, tensor.dtype, tensor.nbytes)
                for source in sources - {target}
            ]
        return outcome


def _tensors(tree: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]
