"""Create tensors where and as this package wants them, whatever the process's defaults are.

An application may change PyTorch's default floating type, which is one for the whole process, or
the default device of a thread. Libraries that load large models go further: while
`accelerate.init_empty_weights` is at work in any thread, `torch.empty` and its like put what they
create on the device `meta`, in every thread. Meta's modules create tensors without naming type and
device, so they are built, and checkpoints read, in the mode below. What runs for every image does
not need it: that code derives new tensors from others (`new_empty`), or names type and device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

CPU = torch.device("cpu")

# Compared by name: what `torch` holds under these names may be another library's patch.
_PATCHED = frozenset({"empty", "zeros", "ones", "full"})
_STORAGE = _PATCHED | {"empty_strided", "rand", "randn"}
_VALUES = frozenset({"arange", "linspace", "tensor", "as_tensor", "asarray", "scalar_tensor"})
# The type of these is the process's default; of the others it follows from their arguments.
_FLOATING = (_STORAGE - {"full"}) | {"linspace"}


class CreateOn(TorchFunctionMode):
    """A context for one thread: new tensors are on one device, floating ones in float32.

    Every operation passes through Python within it, so it is for loading and not for inference.
    Of two that are nested the outer one decides.

    Args:
        device: Where tensors are created, even where a patched function names another device.
        storage: Where tensors without values of their own are created, such as weights; by default
            the same. With `meta`, modules are built without memory, random numbers or time.
    """

    def __init__(self, device: torch.device, storage: torch.device | None = None) -> None:
        super().__init__()
        self._device = device
        self._storage = storage or device

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call `func` with an explicit device, and type where it would be the default."""
        options = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        if name == "to" and any(isinstance(arg, str) and arg == "cuda" for arg in args[1:]):
            # Meta's rotary encodings go to the first GPU there is, and start CUDA by that. Only
            # the video model's memory reads them.
            return args[0]
        if name in _STORAGE or name in _VALUES:
            device = self._storage if name in _STORAGE else self._device
            # A device that is named may be the patch's: it comes from no code of Meta's.
            if name in _PATCHED or options.get("device") is None:
                options["device"] = device
            if name in _FLOATING and options.get("dtype") is None:
                options["dtype"] = torch.float32
        return func(*args, **options)
