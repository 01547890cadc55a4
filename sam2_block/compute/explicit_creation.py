"""Create tensors with an explicit type and device, independent of the process's defaults.

An application may change PyTorch's default floating type, which is global to the process, or the
default device of a thread. Libraries that load large models go further: while
`accelerate.init_empty_weights` is active in any thread, `torch.empty` and similar functions create
their tensors on the device `meta`, in every thread. Meta's modules create tensors without an
explicit type and device, so they are built, and checkpoints read, in the mode below. Code that
runs for every image does not need it: it derives new tensors from others (`new_empty`), or passes
type and device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

CPU = torch.device("cpu")

# Compared by name, as other libraries may have patched these functions of `torch`.
_PATCHED = frozenset({"empty", "zeros", "ones", "full"})
_STORAGE = _PATCHED | {"empty_strided", "rand", "randn"}
_VALUES = frozenset({"arange", "linspace", "tensor", "as_tensor", "asarray", "scalar_tensor"})
# These change no shape: the initial values of weights.
_VALUES_ONLY = frozenset(
    (
        *("normal_", "uniform_", "erfinv_", "clamp_", "fill_", "zero_", "add_", "mul_"),
        *("mul", "__mul__", "__rmul__"),
    )
)
# These create tensors of the process's default type; the others infer it from their arguments.
_FLOATING = (_STORAGE - {"full"}) | {"linspace"}


class CreateOn(TorchFunctionMode):
    """A context for the current thread: new tensors are on one device, floating ones in float32.

    Within it, every operation passes through Python, so it is suitable for loading but not for
    inference. If two are nested, the outer one applies.

    Args:
        device: The device of new tensors, even if a patched function passes another one.
        storage: The device of empty, constant and random tensors, such as weights; `device` by
            default. With `meta`, modules are built without allocating memory, drawing random
            numbers or taking time.
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
        """Call `func` with an explicit device, and with float32 for the default floating type."""
        options = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        if name == "to" and any(isinstance(arg, str) and arg == "cuda" for arg in args[1:]):
            # Meta's rotary encodings move themselves to the first GPU, which initialises CUDA. Only
            # the memory attention of the video model reads them.
            return args[0]
        if name in _VALUES_ONLY:
            # Tensors on `meta` have no values; for these PyTorch would import its compiler (1 s).
            tensors = [arg for arg in (*args, *options.values()) if isinstance(arg, torch.Tensor)]
            if tensors and tensors[0].device.type == "meta":
                return tensors[0]
        if name in _STORAGE or name in _VALUES:
            device = self._storage if name in _STORAGE else self._device
            # An explicit device may come from the patch; Meta's code passes none here.
            if name in _PATCHED or options.get("device") is None:
                options["device"] = device
            if name in _FLOATING and options.get("dtype") is None:
                options["dtype"] = torch.float32
        return func(*args, **options)
