"""Jobs of all calls in one queue, for as many threads as cores.

Of a parallel operation OpenMP makes a region of all cores with a barrier at its end, and an image
is hundreds of operations. Where another process holds one of the cores, every barrier waits for the
next slice of time there. A job here is some milliseconds of work on one core, and whichever core is
free takes the next: only what truly needs all that went before waits for it.
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

# While prompts and images both wait, one turn of so many is an image's.
_TURNS = 5


@dataclass
class Call:
    """A call under way, whose jobs take their turns with those of others.

    Attributes:
        is_image: It encodes an image. Those go first come, first served, so that one is ready
            while the next begins. Prompts go in turns, a job of every call, and before images, so
            that a short call waits neither for a long one nor for an image.
        ticket: Its place in the order of arrival.
        position: Of its next job among those of other calls on prompts.
    """

    is_image: bool
    ticket: int
    position: int


class JobQueue:
    """Runs jobs in lasting threads that compute on one core each.

    Args:
        cores: How many threads.
    """

    def __init__(self, cores: int) -> None:
        self.cores = cores
        # Used by threads of this package only, which are never interrupted.
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(cores, "sam2_block-core", use_one_thread)
        self._numbers = itertools.count()
        self._prompts: list[tuple[int, int, int, Callable[[], None]]] = []
        self._images: list[tuple[int, int, Callable[[], None]]] = []
        self._now = 0  # position of the latest job on prompts
        self._turn = 0

    def begin(self, is_image: bool) -> Call:
        """Enter a call; its jobs come after those that others have been given by now."""
        with self._lock:
            return Call(is_image, next(self._numbers), self._now)

    def run(self, call: Call, job: Callable[[Item], None], items: Sequence[Item]) -> None:
        """Run a job for each item, and wait for all of them.

        Args:
            call: Whose jobs these are.
            job: Runs in inference mode, in any thread, in any order.
            items: What the jobs are about.

        Raises:
            BaseException: What a job raised. Jobs that have not begun by then do not run.
        """
        batch = _Batch(job, len(items))
        with self._lock:
            for item in items:
                self._put(call, functools.partial(batch.run, item))
        for _ in items:
            try:
                self._threads.submit(self._run_next)
            except RuntimeError:  # the interpreter is shutting down, or has no thread left to give
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
            if self._images and (not self._prompts or self._turn == _TURNS - 1):
                self._turn = 0
                run = heapq.heappop(self._images)[-1]
            else:
                self._turn = self._turn + 1 if self._images else 0
                self._now, _, _, run = heapq.heappop(self._prompts)
        run()


@dataclass
class _Batch:
    """The jobs of one `JobQueue.run`; it ends with them."""

    job: Callable[[Any], None]
    left: int
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
            self.left -= 1
            if self.left == 0:
                self.is_done.set()

    def wait(self) -> None:
        if self.left:
            self.is_done.wait()
        error, self.error = self.error, None
        try:
            if error is not None:
                raise error
        finally:
            del error  # it refers to this frame
