"""Threads of this package's own for PyTorch's work on a CPU.

OpenMP, by which PyTorch uses several cores, keeps a team of threads for each thread that calls it.

The engine runs every step in a thread that ends with the request: such a step has a new team,
beside those of others. Where there are more threads in teams than cores, GNU's OpenMP lets a thread
sleep that waits for the rest of its team, and an operation takes five times as long to begin.
(`libgomp/config/linux/wait.h`, and `gomp_managed_threads` in `libgomp/team.c`.) So one thread
lasts.

A thread that has a team must not fork: the child has the team's records without its threads, and
waits for them for ever (pytorch/pytorch#17199). Any thread of the application may fork, above all
the main one. So nothing is computed in a caller's thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

from sam2_block import process_state

Result = TypeVar("Result")


class ComputeThread:
    """Runs calls in a thread that lasts; nobody waits for another's call.

    A call that finds the thread busy runs beside it, in a thread that ends with the call, so that a
    short call is not held up by a long one.
    """

    def __init__(self) -> None:
        self.reset_after_fork()
        process_state.register(self)

    def reset_after_fork(self) -> None:
        """Begin anew: the parent's thread is not in the child."""
        self._busy = threading.Lock()
        self._executor: ThreadPoolExecutor | None = None
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

        def work() -> Result:
            self._own.is_here = True
            with process_state.FORK_GATE.held():
                return call()

        try:
            future = self._start(work)
        except RuntimeError:  # the interpreter is shutting down, or has no thread left to give
            return call()
        return future.result()

    def _start(self, work: Callable[[], Result]) -> Future[Result]:
        busy = self._busy
        if not busy.acquire(blocking=False):
            return _in_a_new_thread(work)

        def work_and_free() -> Result:
            try:
                return work()
            finally:
                # Not by whoever waits: an interrupted caller is gone before the work is done.
                busy.release()

        try:
            return self._lasting(torch.get_num_threads()).submit(work_and_free)
        except RuntimeError:
            self._executor = None
            busy.release()
            raise

    def _lasting(self, cores: int) -> ThreadPoolExecutor:
        """Return the thread, made anew if the application has changed PyTorch's cores since."""
        if self._executor is None or cores != self._cores:
            if self._executor is not None:
                self._executor.shutdown(wait=False)
            self._executor = ThreadPoolExecutor(1, "sam2_block-compute")
            self._cores = cores
        return self._executor


def _in_a_new_thread(work: Callable[[], Result]) -> Future[Result]:
    future: Future[Result] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name="sam2_block-compute-more").start()
    return future


COMPUTE_THREAD = ComputeThread()
"""The process's thread."""
