"""A thread that lasts, for PyTorch's work on a CPU.

The engine runs every step in a thread that ends with the request. OpenMP, by which PyTorch uses
several cores, keeps a team of threads for each thread that calls it: such a step has a new team,
beside those of others. Where there are more threads in teams than cores, GNU's OpenMP lets a thread
sleep that waits for the rest of its team, and an operation takes five times as long to begin.
(`libgomp/config/linux/wait.h`, and `gomp_managed_threads` in `libgomp/team.c`.)
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Result = TypeVar("Result")


class ComputeThread:
    """Runs one call at a time in its thread; nobody waits for it.

    A call that finds it busy runs in the caller's own thread beside it, so that a short call is not
    held up by a long one. So does one of the main thread, which lasts, and has a team if the
    application uses PyTorch: two teams would be worse than that one.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew, as in a process that was forked: its parent's thread is not in it."""
        self._busy = threading.Lock()
        self._executor: ThreadPoolExecutor | None = None
        self._cores = 0

    def run(self, device: torch.device, call: Callable[[], Result]) -> Result:
        """Return what a call returns, or raise what it raises.

        Args:
            device: Where it computes; only on a CPU does the thread matter.
            call: Runs without the caller's thread-local state, such as autocast.
        """
        if device.type != "cpu" or threading.current_thread() is threading.main_thread():
            return call()
        busy = self._busy
        if not busy.acquire(blocking=False):
            return call()

        def work() -> Result:
            try:
                return call()
            finally:
                # Not by whoever waits: an interrupted caller is gone before the work is done.
                busy.release()

        try:
            future = self._lasting(torch.get_num_threads()).submit(work)
        except RuntimeError:  # the interpreter is shutting down, or has no thread left to give
            self._executor = None
            busy.release()
            return call()
        return future.result()

    def _lasting(self, cores: int) -> ThreadPoolExecutor:
        """Return the thread, made anew if the application has changed PyTorch's cores since."""
        if self._executor is None or cores != self._cores:
            if self._executor is not None:
                self._executor.shutdown(wait=False)
            self._executor = ThreadPoolExecutor(1, "sam2_block-compute")
            self._cores = cores
        return self._executor


COMPUTE_THREAD = ComputeThread()
"""The process's thread."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=COMPUTE_THREAD.forget)
