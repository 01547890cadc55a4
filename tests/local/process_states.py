"""What other code in the process may have done to PyTorch, each as a context that undoes it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import torch

CONSTRUCTORS = ("empty", "zeros", "ones", "full")


@contextlib.contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextlib.contextmanager
def default_device(device: str) -> Iterator[None]:
    torch.set_default_device(device)
    try:
        yield
    finally:
        torch.set_default_device(None)


@contextlib.contextmanager
def default_tensor_type() -> Iterator[None]:
    torch.set_default_tensor_type(torch.DoubleTensor)
    try:
        yield
    finally:
        torch.set_default_tensor_type(torch.FloatTensor)


@contextlib.contextmanager
def deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


@contextlib.contextmanager
def parameters_on_meta() -> Iterator[None]:
    """As `accelerate.init_empty_weights`, and older releases of transformers and diffusers."""
    original = torch.nn.Module.register_parameter

    def register(module: torch.nn.Module, name: str, param: Any) -> None:
        original(module, name, param)
        if param is not None:
            meta = param.to("meta")
            module._parameters[name] = torch.nn.Parameter(meta, param.requires_grad)

    torch.nn.Module.register_parameter = register  # type: ignore[method-assign]
    try:
        yield
    finally:
        torch.nn.Module.register_parameter = original  # type: ignore[method-assign]


@contextlib.contextmanager
def everything_on_meta() -> Iterator[None]:
    """The same with `include_buffers=True`: devices that a call names are overridden as well."""
    originals = {name: getattr(torch, name) for name in CONSTRUCTORS}

    def patched(create: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args, **kwargs: create(*args, **{**kwargs, "device": "meta"})

    with parameters_on_meta():
        for name, create in originals.items():
            setattr(torch, name, patched(create))
        try:
            yield
        finally:
            for name, create in originals.items():
                setattr(torch, name, create)


@contextlib.contextmanager
def in_another_thread(state: Callable[[], AbstractContextManager[Any]]) -> Iterator[None]:
    """Enter a state in another thread, and leave it there."""
    entered, may_leave = threading.Event(), threading.Event()

    def hold() -> None:
        with state():
            entered.set()
            may_leave.wait(120)

    thread = threading.Thread(target=hold)
    thread.start()
    assert entered.wait(60)
    try:
        yield
    finally:
        may_leave.set()
        thread.join()


STATES: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "default type float64": lambda: default_dtype(torch.float64),
    "default type bfloat16": lambda: default_dtype(torch.bfloat16),
    "default type float16": lambda: default_dtype(torch.float16),
    "default tensor type double": default_tensor_type,
    "default device meta": lambda: default_device("meta"),
    "default device cuda, there or not": lambda: default_device("cuda"),
    "context of the device meta": lambda: torch.device("meta"),
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "gradients": lambda: torch.set_grad_enabled(True),
    "inference mode": torch.inference_mode,
    "deterministic algorithms": deterministic,
    # Patches reach every thread.
    "parameters on meta": lambda: in_another_thread(parameters_on_meta),
    "everything on meta": lambda: in_another_thread(everything_on_meta),
}
