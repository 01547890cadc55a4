"""PyTorch's work on a CPU lasts in one thread, and nobody waits for it or is left without it."""

from __future__ import annotations

import contextlib
import functools
import gc
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np
import pytest
import torch

from sam2_block.backends.local import backend as backend_module
from sam2_block.backends.local import model_registry
from sam2_block.backends.local.backend import LocalBackend
from sam2_block.backends.local.compute_thread import ComputeThread
from sam2_block.backends.local.model_registry import MODELS
from sam2_block.prompts import Prompt
from sam2_block.settings import Settings

CPU = torch.device("cpu")

Result = TypeVar("Result")


def in_a_thread(call: Callable[[], Result]) -> Result:
    """Call from a thread that ends with the call, as the engine's steps do."""
    found: list[Result] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            found.append(call())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(60)
    if errors:
        raise errors[0]
    return found[0]


@pytest.fixture
def lasting() -> ComputeThread:
    return ComputeThread()


def threads_of_a_call(lasting: ComputeThread, device: torch.device = CPU) -> tuple[int, int]:
    """Call from a thread that ends; return that thread, and the one in which the call ran."""
    return in_a_thread(lambda: (threading.get_ident(), lasting.run(device, threading.get_ident)))


def test_callers_that_end_share_a_thread_that_lasts(lasting: ComputeThread) -> None:
    first, second = threads_of_a_call(lasting), threads_of_a_call(lasting)
    assert first[1] == second[1]
    assert first[0] != first[1]
    assert second[0] != second[1]


def test_the_main_thread_does_not_compute(lasting: ComputeThread) -> None:
    there = lasting.run(CPU, threading.get_ident)
    assert there != threading.get_ident()
    assert lasting.run(CPU, threading.get_ident) == there


def test_other_devices_are_used_from_where_the_caller_is(lasting: ComputeThread) -> None:
    here, there = threads_of_a_call(lasting, torch.device("cuda", 0))
    assert here == there


def test_a_call_within_a_call_stays_in_its_thread(lasting: ComputeThread) -> None:
    def outer() -> tuple[int, int]:
        return threading.get_ident(), lasting.run(CPU, threading.get_ident)

    first, second = lasting.run(CPU, outer)
    assert first == second


@pytest.fixture
def busy(lasting: ComputeThread) -> Iterator[None]:
    """Keep the thread busy for the length of a test."""
    begun, may_end = threading.Event(), threading.Event()

    def long() -> bool:
        begun.set()
        return may_end.wait(60)

    other = threading.Thread(target=lambda: lasting.run(CPU, long))
    other.start()
    assert begun.wait(60)
    yield
    may_end.set()
    other.join()


@pytest.mark.usefixtures("busy")
def test_a_call_waits_for_no_other_and_has_a_thread_of_its_own(lasting: ComputeThread) -> None:
    here, there = threads_of_a_call(lasting)
    assert here != there
    assert lasting.run(CPU, threading.get_ident) != threading.get_ident()  # the main thread


@pytest.mark.usefixtures("busy")
def test_a_thread_beside_another_call_lasts_and_computes_on_one_core(
    lasting: ComputeThread,
) -> None:
    first = threads_of_a_call(lasting)[1]
    assert threads_of_a_call(lasting)[1] == first  # none ends during a fork
    assert lasting.run(CPU, torch.get_num_threads) == 1


@pytest.mark.usefixtures("busy")
def test_an_error_beside_another_call_reaches_the_caller(lasting: ComputeThread) -> None:
    with pytest.raises(ZeroDivisionError):
        lasting.run(CPU, lambda: 1 // 0)


def test_an_error_reaches_the_caller_and_the_thread_goes_on(lasting: ComputeThread) -> None:
    before = in_a_thread(lambda: lasting.run(CPU, threading.get_ident))
    with pytest.raises(ZeroDivisionError):
        in_a_thread(lambda: lasting.run(CPU, lambda: 1 // 0))
    assert in_a_thread(lambda: lasting.run(CPU, threading.get_ident)) == before


@pytest.fixture
def cores() -> Iterator[int]:
    """Return how many cores PyTorch uses, and have it use as many again."""
    before = torch.get_num_threads()
    yield before
    torch.set_num_threads(before)


def test_the_thread_follows_the_cores_that_the_application_allows(
    lasting: ComputeThread, cores: int
) -> None:
    assert in_a_thread(lambda: lasting.run(CPU, torch.get_num_threads)) == cores
    torch.set_num_threads(cores + 1)
    assert in_a_thread(lambda: lasting.run(CPU, torch.get_num_threads)) == cores + 1


PREAMBLE = """
import os, sys, threading, torch
from sam2_block.backends.local.compute_thread import COMPUTE_THREAD

def ask():
    product = lambda: float((torch.ones(300, 300) @ torch.ones(300, 300))[0, 0])
    print(COMPUTE_THREAD.run(torch.device("cpu"), product), flush=True)

def in_a_thread():
    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
"""


def run_script(script: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PREAMBLE + script],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.stdout


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_process_has_a_thread_of_its_own() -> None:
    script = """
in_a_thread()
child = os.fork()
if child == 0:
    in_a_thread()
    os._exit(0)
os.waitpid(child, 0)
"""
    assert run_script(script) == "300.0\n300.0\n"


def test_a_thread_that_outlives_the_main_one_is_answered() -> None:
    script = """
def late():
    threading.main_thread().join()
    ask()

in_a_thread()
threading.Thread(target=late).start()
"""
    assert run_script(script) == "300.0\n300.0\n"


def test_loading_encoding_and_decoding_run_in_it(
    coins: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    where: dict[str, int] = {}

    def watch(module: Any, name: str) -> None:
        function = getattr(module, name)

        def watched(*args: Any, **options: Any) -> Any:
            where[name] = threading.get_ident()
            return function(*args, **options)

        monkeypatch.setattr(module, name, watched)

    for module, name in (
        (model_registry, "load_model"),
        (model_registry, "make_network"),
        (backend_module, "encode"),
        (backend_module, "decode"),
    ):
        watch(module, name)
    MODELS.unload()
    backend = LocalBackend(Settings(device="cpu"))
    box = Prompt(box_xyxy=(10.0, 10.0, 60.0, 60.0))

    def ask() -> int:
        backend.predict(coins, [box], version="demo", multimask_output=True)
        return threading.get_ident()

    caller = in_a_thread(ask)
    assert set(where) == {"load_model", "make_network", "encode", "decode"}
    assert len(set(where.values())) == 1
    assert caller not in where.values()


@pytest.mark.parametrize("fails", [False, True], ids=["a result", "an error"])
def test_nothing_is_kept_of_a_call(lasting: ComputeThread, fails: bool) -> None:
    class Model:
        pass

    def call(model: Model) -> None:
        assert not fails

    model = Model()
    gone = weakref.ref(model)
    gc.disable()
    try:
        with contextlib.suppress(AssertionError):
            lasting.run(CPU, functools.partial(call, model))
        del model
        lasting.run(CPU, lambda: None)  # the thread has left the first call behind
        assert gone() is None
    finally:
        gc.enable()
