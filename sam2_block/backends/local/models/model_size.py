"""Measure how much memory a model takes."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from torch import Tensor


def tensor_bytes(holder: Any) -> int:
    """Return the bytes of all tensors that an object holds; shared memory counts once.

    Args:
        holder: Any object. Only containers and attributes are followed.
    """
    storages: dict[int, int] = {}
    seen: set[int] = set()
    stack = [holder]
    while stack:
        item = stack.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, Tensor):
            storage = item.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
        elif isinstance(item, dict):
            stack.extend(item.values())
        elif isinstance(item, (list, tuple, set, frozenset)):
            stack.extend(item)
        elif hasattr(item, "__dict__") and not isinstance(item, (type, ModuleType)):
            stack.extend(vars(item).values())
    return sum(storages.values())
