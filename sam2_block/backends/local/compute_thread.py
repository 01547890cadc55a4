"""Threads of this package's own for PyTorch's work on a CPU.

OpenMP, by which PyTorch uses several cores, keeps a team of threads for each thread that calls it.

The engine runs every step in a thread that ends with the request: such a step has a new team,
beside those of others. Where there are more threads in teams than cores, GNU's OpenMP lets a thread
sleep that waits for the rest of its team, and an operation takes five times as long to begin.
(`libgomp/config/linux/wait.h`, and `gomp_managed_threads` in `libgomp/team.c`.) So one thread
lasts.

A thread that has a team must not fork: the child has the team's records without its threads, and
waits for them for ever (pytorch/pytorch#17199). Any thread of the application may fork, above all
the main one. So nothing is computed in a caller's thread. Nor may a thread that has computed end
during a fork: MKL frees its buffers then, under a lock that the child would wait for. So further
threads last as well, and compute on one core each, without a team.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any, Generic, TypeVar, cast

import torch

from sam2_block import process_state
from sam2_block.backends.local.openmp import use_one_thread

Result = TypeVar("Result")

# Calls that run at once beside the first; more wait for one of them.
_MAX_FURTHER_THREADS = 64


class ComputeThread:
    """Runs calls in a thread that lasts; nobody waits for another's call.

    A call that finds the thread busy runs beside it in a further thread, on one core, so that a
    short call is not held up by a long one.
    """

    def __init__(self) -> None:
        self.reset_after_fork()
        process_state.register(self)

    def reset_after_fork(self) -> None:
        """Begin anew: the parent's thread is not in the child."""
        self._lock = threading.RLock()
        self._latest: _Work[Any] | None = None
        self._executor: ThreadPoolExecutor | None = None
        self._further: ThreadPoolExecutor | None = None
        self._cores = 0
        self._own = threading.local()

    def run(self, device: torch.device, call: Callable[[], Result]) -> Result:
        """Return what a call returns, or raise what it raises.

        Args:
            device: Where it computes; only on a CPU does the thread matter.
            call: Runs without the caller's thread-local state, such as autocast.

        Raises:
            ForkError: This process was forked in the middle of such a call.
        """
        if device.type != "cpu" or getattr(self._own, "is_here", False):
            return call()

        work = _Work(lambda: self._run_here(call))
        try:
            self._start(work)
        except RuntimeError:  # the interpreter is shutting down, or has no thread left to give
            return call()
        return work.result()

    def _run_here(self, call: Callable[[], Result]) -> Result:
        self._own.is_here = True
        with process_state.FORK_GATE.held():
            return call()

    def _start(self, work: _Work[Any]) -> None:
        with self._lock:
            if self._latest is None or self._latest.is_done:
                try:
                    self._lasting(torch.get_num_threads()).submit(work.run)
                except BaseException:  # interrupted as well: its thread may never begin
                    self._executor = None
                    raise
                self._latest = work
                return
            if self._further is None:
                self._further = ThreadPoolExecutor(
                    _MAX_FURTHER_THREADS, "sam2_block-compute-further", use_one_thread
                )
            try:
                self._further.submit(work.run)
            except BaseException:
                self._further = None
                raise

    def _lasting(self, cores: int) -> ThreadPoolExecutor:
        """Return the thread, made anew if the application has changed PyTorch's cores since."""
        if self._executor is None or cores != self._cores:
            if self._executor is not None:
                self._executor.shutdown(wait=False)
            self._executor = ThreadPoolExecutor(1, "sam2_block-compute")
            self._cores = cores
        return self._executor


class _Work(Generic[Result]):
    """A call, and its result for the thread that waits for it.

    A `Future` would not do: its lock stays locked for good where the waiting thread is interrupted
    (`KeyboardInterrupt`) at the wrong moment.
    """

    def __init__(self, call: Callable[[], Result]) -> None:
        self._call = call
        self._outcome: SimpleQueue[tuple[Result | None, BaseException | None]] = SimpleQueue()
        self.is_done = False

    def run(self) -> None:
        """Make the result. Nobody need wait for it: an interrupted caller is gone before."""
        outcome: tuple[Result | None, BaseException | None]
        try:
            outcome = self._call(), None
        except BaseException as error:
            outcome = None, error
        del self._call  # the latest work is kept, and must not keep a model
        self.is_done = True
        self._outcome.put(outcome)
        del outcome  # an error refers to this frame

    def result(self) -> Result:
        """Wait for the call, and return what it returned, or raise what it raised."""
        value, error = self._outcome.get()
        try:
            if error is not None:
                raise error
            return cast(Result, value)
        finally:
            del error  # it refers to this frame


COMPUTE_THREAD = ComputeThread()
"""The process's thread."""
