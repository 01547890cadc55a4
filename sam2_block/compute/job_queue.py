"""Queue the jobs of all calls for as many threads as there are cores.

OpenMP runs a parallel operation as a region on all cores that ends with a barrier, and an image
takes hundreds of operations. If another process occupies one of the cores, every barrier waits for
the next time slice there. Here, a job is a few milliseconds of work on one core, and the next free
core runs the next job. Only a computation that depends on all jobs before it waits for them.
"""

from __future__ import annotations

import functools
import heapq
import itertools
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch

from sam2_block.compute.openmp import use_one_thread

Item = TypeVar("Item")

# While jobs on prompts and on images are both queued, one in this many is on an image.
_IMAGE_INTERVAL = 5


@dataclass
class Call:
    """A running call, whose jobs share the queue with those of other calls.

    Attributes:
        is_image: Whether the call encodes an image. Images are first come, first served, so that
            one is finished while the next begins. Calls on prompts alternate, one job of each in
            turn, and have priority over images, so that a short call waits neither for a long one
            nor for an image.
        ticket: Position of the call in the order of arrival.
        position: Round of the call's next job, if on prompts: each call runs one job per round.
    """

    is_image: bool
    ticket: int
    position: int


class JobQueue:
    """Runs jobs in permanent threads, each of which computes on one core.

    Args:
        cores: Number of threads.
    """

    def __init__(self, cores: int) -> None:
        self.cores = cores
        # Only threads of this package acquire it, and those are never interrupted.
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(cores, "sam2_block-core", use_one_thread)
        self._numbers = itertools.count()
        self._prompts: list[tuple[int, int, int, Callable[[], None]]] = []
        self._images: list[tuple[int, int, Callable[[], None]]] = []
        self._round = 0  # of the latest job on prompts
        self._since_image = 0  # jobs on prompts in a row while images were queued

    def begin(self, is_image: bool) -> Call:
        """Register a call; its jobs on prompts begin in the current round."""
        with self._lock:
            return Call(is_image, next(self._numbers), self._round)

    def run(self, call: Call, job: Callable[[Item], None], items: Sequence[Item]) -> None:
        """Run a job for each item, and wait for all of them.

        Args:
            call: The call that the jobs belong to.
            job: Called with an item, in inference mode, in any thread, in any order.
            items: The items of the jobs.

        Raises:
            BaseException: The error of a job that failed. Jobs that have not begun by then do not
                run.
        """
        batch = _Batch(job, len(items))
        with self._lock:
            for item in items:
                self._put(call, functools.partial(batch.run, item))
        for _ in items:
            try:
                self._threads.submit(self._run_next)
            except RuntimeError:  # the interpreter is shutting down, or cannot start a thread
                self._run_next()
        batch.wait()

    def _put(self, call: Call, run: Callable[[], None]) -> None:
        number = next(self._numbers)
        if call.is_image:
            heapq.heappush(self._images, (call.ticket, number, run))
        else:
            heapq.heappush(self._prompts, (call.position, call.ticket, number, run))
            call.position += 1

    def _run_next(self) -> None:
        with self._lock:
            if self._images and (not self._prompts or self._since_image == _IMAGE_INTERVAL - 1):
                self._since_image = 0
                run = heapq.heappop(self._images)[-1]
            else:
                self._since_image = self._since_image + 1 if self._images else 0
                self._round, _, _, run = heapq.heappop(self._prompts)
        run()


@dataclass
class _Batch:
    """The jobs of one `JobQueue.run`, which returns when all of them have ended."""

    job: Callable[[Any], None]
    remaining: int
    error: BaseException | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)
    is_done: threading.Event = field(default_factory=threading.Event)

    def run(self, item: Any) -> None:
        try:
            if self.error is None:
                with torch.inference_mode():
                    self.job(item)
        except BaseException as error:
            self.error = error
        with self.lock:
            self.remaining -= 1
            if self.remaining == 0:
                self.is_done.set()

    def wait(self) -> None:
        if self.remaining:
            self.is_done.wait()
        error, self.error = self.error, None
        try:
            if error is not None:
                raise error
        finally:
            del error  # its traceback refers to this frame
