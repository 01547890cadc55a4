"""Calls run in threads that last, whoever calls; nobody waits for another or is left without."""

from __future__ import annotations

import contextlib
import functools
import gc
import os
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np
import pytest
import torch

from sam2_block.backends.local import local_backend as backend_module
from sam2_block.backends.local.local_backend import LocalBackend
from sam2_block.backends.local.models import model_registry
from sam2_block.backends.local.models.model_registry import MODELS
from sam2_block.compute.compute_pool import ComputePool
from sam2_block.prompts import Prompt
from sam2_block.settings import LocalSettings

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
def pool() -> ComputePool:
    return ComputePool()


def threads_of_a_call(pool: ComputePool, device: torch.device = CPU) -> tuple[int, int]:
    """Call from a thread that ends; return that thread, and the one in which the call ran."""
    return in_a_thread(lambda: (threading.get_ident(), pool.run(device, threading.get_ident)))


# A thread is free for the next call a moment after its result is there: with bad luck that call
# starts a second thread, and a third.
FEW = 3


def test_callers_that_end_share_threads_that_last(pool: ComputePool) -> None:
    calls = [threads_of_a_call(pool) for _ in range(20)]
    assert all(caller != thread for caller, thread in calls)
    assert len({thread for _, thread in calls}) <= FEW


def test_the_main_thread_does_not_compute(pool: ComputePool) -> None:
    threads = {pool.run(CPU, threading.get_ident) for _ in range(20)}
    assert threading.get_ident() not in threads
    assert len(threads) <= FEW


def test_other_devices_are_used_from_where_the_caller_is(pool: ComputePool) -> None:
    here, there = threads_of_a_call(pool, torch.device("cuda", 0))
    assert here == there


def test_a_call_within_a_call_stays_in_its_thread(pool: ComputePool) -> None:
    def outer() -> tuple[int, int]:
        return threading.get_ident(), pool.run(CPU, threading.get_ident)

    first, second = pool.run(CPU, outer)
    assert first == second


@pytest.fixture
def busy(pool: ComputePool) -> Iterator[None]:
    """Keep the thread busy for the length of a test."""
    begun, may_end = threading.Event(), threading.Event()

    def long() -> bool:
        begun.set()
        return may_end.wait(60)

    other = threading.Thread(target=lambda: pool.run(CPU, long))
    other.start()
    assert begun.wait(60)
    yield
    may_end.set()
    other.join()


@pytest.mark.usefixtures("busy")
def test_a_call_waits_for_no_other_and_not_for_a_thread_to_begin(pool: ComputePool) -> None:
    calls = [threads_of_a_call(pool) for _ in range(20)]
    assert all(caller != thread for caller, thread in calls)
    assert len({thread for _, thread in calls}) <= FEW  # none ends during a fork


@pytest.mark.usefixtures("busy")
def test_an_error_beside_another_call_reaches_the_caller(pool: ComputePool) -> None:
    with pytest.raises(ZeroDivisionError):
        pool.run(CPU, lambda: 1 // 0)


def test_an_error_reaches_the_caller_and_the_thread_goes_on(pool: ComputePool) -> None:
    threads = set()
    for _ in range(20):
        with pytest.raises(ZeroDivisionError):
            in_a_thread(lambda: pool.run(CPU, lambda: 1 // 0))
        threads.add(in_a_thread(lambda: pool.run(CPU, threading.get_ident)))
    assert len(threads) <= FEW


@pytest.mark.parametrize("device", [CPU, torch.device("cuda", 0)], ids=str)
def test_so_many_images_are_encoded_at_once_and_the_first_come_first(
    device: torch.device, pool: ComputePool
) -> None:
    running, most, order = 0, 0, []
    lock, may_end = threading.Lock(), threading.Event()

    def encode(number: int) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
            order.append(number)
        assert may_end.wait(60)
        with lock:
            running -= 1

    callers = []
    for number in range(6):
        begun = len(order)
        callers.append(
            threading.Thread(
                target=lambda n=number: pool.run(device, lambda: encode(n), max_images=2)
            )
        )
        callers[-1].start()
        while number < 2 and len(order) == begun:
            time.sleep(0.01)
        time.sleep(0.05)  # they line up in this order
    assert pool.run(device, lambda: "a call that is no image") == "a call that is no image"
    may_end.set()
    for caller in callers:
        caller.join()
    assert most == 2
    assert order[:2] == [0, 1]
    # Which of the two that run at once afterwards is first is up to the machine.
    assert [[n for n in order if n % 2 == first] for first in (0, 1)] == [[0, 2, 4], [1, 3, 5]]


PREAMBLE = """
import os, sys, threading, torch
from sam2_block.compute.compute_pool import COMPUTE_POOL

def ask():
    product = lambda: float((torch.ones(300, 300) @ torch.ones(300, 300))[0, 0])
    print(COMPUTE_POOL.run(torch.device("cpu"), product), flush=True)

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


def test_loading_encoding_and_decoding_run_in_its_threads(
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
    backend = LocalBackend(LocalSettings(device="cpu"))
    box = Prompt(box_xyxy=(10.0, 10.0, 60.0, 60.0))

    def ask() -> int:
        backend.predict(coins, [box], version="demo", multimask_output=True)
        return threading.get_ident()

    caller = in_a_thread(ask)
    assert set(where) == {"load_model", "make_network", "encode", "decode"}
    assert caller not in where.values()


@pytest.mark.parametrize("fails", [False, True], ids=["a result", "an error"])
def test_nothing_is_kept_of_a_call(pool: ComputePool, fails: bool) -> None:
    class Model:
        pass

    def call(model: Model) -> None:
        assert not fails

    model = Model()
    gone = weakref.ref(model)
    gc.disable()
    try:
        with contextlib.suppress(AssertionError):
            pool.run(CPU, functools.partial(call, model))
        del model
        pool.run(CPU, lambda: None)  # the thread has left the first call behind
        assert gone() is None
    finally:
        gc.enable()
