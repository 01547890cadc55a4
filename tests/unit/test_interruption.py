"""Ctrl+C at any step of a call leaves nothing behind that another thread would wait for."""

from __future__ import annotations

import sys
import threading
import weakref
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from sam2_block import process_state
from sam2_block.backends.local import single_flight
from sam2_block.compute import compute_pool
from sam2_block.process_state import ForkGate, SharedObjects

# How long a test waits before it fails; when all is well nothing waits this long.
PATIENCE_S = 30.0
FILES = {module.__file__ for module in (process_state, compute_pool, single_flight)}
CODES = {
    threading.Condition.__enter__.__code__,
    threading.Condition.__exit__.__code__,
    weakref.WeakSet.__init__.__code__,
}


class InterruptedAt:
    """Raises `KeyboardInterrupt` in this thread, where a function of these mechanisms begins."""

    def __init__(self, step: int) -> None:
        self._steps_left = step
        self.reached = False

    def __enter__(self) -> None:
        self._before = sys.gettrace()
        sys.settrace(self._enter)

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)

    def _enter(self, frame: FrameType, event: str, arg: Any) -> None:
        # Python looks for signals where a function begins.
        if frame.f_code.co_filename in FILES or frame.f_code in CODES:
            self._steps_left -= 1
            if self._steps_left == 0:
                self.reached = True
                raise KeyboardInterrupt


class InterruptedAfter:
    """A lock behind whose first release the thread is interrupted."""

    is_over = False

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        if not self.is_over:
            self.is_over = True
            raise KeyboardInterrupt


class Closing:
    def close(self) -> None:
        pass


class User:
    pass


def one_flight() -> Callable[[], object]:
    flights: single_flight.SingleFlight[str, int] = single_flight.SingleFlight()
    return lambda: flights.run("key", lambda: 5)


def shared_object() -> Callable[[], object]:
    shared = SharedObjects()

    def call() -> None:
        user = User()
        shared.get("key", Closing, user)
        shared.release(user)

    return call


def hold(gate: ForkGate) -> None:
    with gate.held():
        pass


def held_gate() -> Callable[[], object]:
    gate = ForkGate()

    def call() -> None:
        hold(gate)
        gate.before_fork()  # waits for holders
        gate.after_fork_in_parent()

    return call


def computation() -> Callable[[], object]:
    pool = compute_pool.ComputePool()
    return lambda: pool.run(compute_pool.torch.device("cpu"), lambda: 5)


CALLS = {
    "one flight": one_flight,
    "shared object": shared_object,
    "gate": held_gate,
    "computation": computation,
}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_that_is_interrupted_blocks_no_other(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The hooks of a fork that is interrupted are waited for, but not for ever.
    monkeypatch.setattr(process_state, "FORK_TIMEOUT_S", 0.05)
    step = 0
    while True:
        step += 1
        call = CALLS[name]()
        interruption = InterruptedAt(step)
        try:
            with interruption:
                call()
        except KeyboardInterrupt:
            pass
        other = threading.Thread(target=call, daemon=True)
        other.start()
        other.join(PATIENCE_S)
        assert not other.is_alive(), f"interrupted at step {step}"
        if not interruption.reached:
            break
    assert step > 2


def test_a_holder_that_is_interrupted_delays_no_fork() -> None:
    step = 0
    while True:
        step += 1
        gate = ForkGate()
        interruption = InterruptedAt(step)
        try:
            with interruption:
                hold(gate)
        except KeyboardInterrupt:
            pass
        assert not gate._holders, f"interrupted at step {step}"
        if not interruption.reached:
            break


def test_threads_that_last_are_used_again() -> None:
    step = 0
    while True:
        step += 1
        pool = compute_pool.ComputePool()
        cpu = compute_pool.torch.device("cpu")
        interruption = InterruptedAt(step)
        try:
            with interruption:
                pool.run(cpu, lambda: 5)
        except KeyboardInterrupt:
            pass
        names = {pool.run(cpu, lambda: threading.current_thread().name) for _ in range(3)}
        assert all(name.startswith("sam2_block-call") for name in names)  # not the caller's thread
        if not interruption.reached:
            break


def test_an_interruption_before_the_value_is_made_leaves_the_key_free() -> None:
    flights: single_flight.SingleFlight[str, int] = single_flight.SingleFlight()
    flights._lock = InterruptedAfter()  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        flights.run("key", lambda: 5)
    other = threading.Thread(target=flights.run, args=("key", lambda: 5), daemon=True)
    other.start()
    other.join(PATIENCE_S)
    assert not other.is_alive()
