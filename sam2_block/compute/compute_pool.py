"""Where PyTorch's work on a CPU runs: in threads of this package's own, that last.

OpenMP, by which PyTorch uses several cores, keeps a team of threads for each thread that calls it.

A thread that has a team must not fork: the child has the team's records without its threads, and
waits for them for ever (pytorch/pytorch#17199). Any thread of the application may fork, above all
the main one. So nothing is computed in a caller's thread. Nor may a thread that has computed end
during a fork: MKL frees its buffers then, under a lock that the child would wait for. So no thread
of this package ends.

A call runs in a thread without a team, and hands what takes long to `JobQueue`, by `each`. However
many calls there are, as many cores are busy as the process may use, and no more.

Where PyTorch's OpenMP is not GNU's (macOS, Windows, Intel's), a thread cannot be kept from having a
team: there one thread runs the jobs of all calls, on all cores.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from queue import SimpleQueue
from typing import Any, Generic, TypeVar, cast

import torch

from sam2_block import process_state
from sam2_block.compute.cores import usable_cores
from sam2_block.compute.job_queue import Call, JobQueue
from sam2_block.compute.openmp import can_use_one_thread, use_one_thread

Item = TypeVar("Item")
Result = TypeVar("Result")

# Calls under way at once, images apart; more wait for one of them.
_MAX_CALLS = 64


class _Here(threading.local):
    """What the present thread is running."""

    call: tuple[JobQueue, Call] | None = None


_here = _Here()


def each(job: Callable[[Item], None], items: Iterable[Item]) -> None:
    """Run a job for each item, on all cores of the call that this is part of.

    Jobs run in no order, and in inference mode. Outside of a call, and within a job, they run here,
    one after the other.
    """
    if _here.call is None:
        for item in items:
            job(item)
        return
    queue, call = _here.call
    queue.run(call, job, list(items))


def cores() -> int:
    """Return how many jobs of `each` run at once here."""
    return _here.call[0].cores if _here.call else 1


class ComputePool:
    """Runs calls, and the jobs that they consist of."""

    def __init__(self) -> None:
        self.reset_after_fork()
        process_state.register(self)

    def reset_after_fork(self) -> None:
        """Begin anew: the parent's threads are not in the child."""
        self._lock = threading.RLock()
        self._calls: dict[int, ThreadPoolExecutor] = {}
        self._queues: dict[int, JobQueue] = {}
        self._lanes: dict[int, Iterator[threading.Lock]] = {}
        _here.call = None  # of the thread that forked

    def run(
        self,
        device: torch.device,
        call: Callable[[], Result],
        *,
        max_cores: int = 0,
        max_images: int = 0,
    ) -> Result:
        """Return what a call returns, or raise what it raises.

        Args:
            device: Where it computes. On other devices than a CPU the call runs in the caller's
                thread, and so on the caller's CUDA stream.
            call: Runs without the caller's thread-local state, such as autocast.
            max_cores: How many cores it may use; 0 for as many as the process may.
            max_images: 0, or for a call that encodes an image, how many such calls run at once;
                more wait, first come, first served.

        Raises:
            ForkError: This process was forked in the middle of such a call.
        """
        if _here.call is not None:
            return call()
        if device.type != "cpu":
            with self._lane(max_images):
                return call()
        count = max_cores or usable_cores()
        work = _Work(lambda: self._run_here(call, count, bool(max_images)))
        try:
            self._start(work, max_images)
        except RuntimeError:  # the interpreter is shutting down, or has no thread left to give
            return call()
        return work.result()

    def _start(self, work: _Work[Any], max_images: int) -> None:
        with self._lock:
            if max_images not in self._calls:
                self._calls[max_images] = ThreadPoolExecutor(
                    max_images or _MAX_CALLS,
                    "sam2_block-image" if max_images else "sam2_block-call",
                    use_one_thread,
                )
            try:
                self._calls[max_images].submit(work.run)
            except BaseException:  # interrupted as well: its thread may never begin
                del self._calls[max_images]
                raise

    def _lane(self, max_images: int) -> AbstractContextManager[object]:
        """Return what bounds the images encoded at once on other devices than a CPU.

        Images line up in as many lanes in turn. A semaphore would not do: it is Python code, in
        which `KeyboardInterrupt` may come before the permit is returned.
        """
        if not max_images:
            return nullcontext()
        with self._lock:
            if max_images not in self._lanes:
                lanes = [threading.Lock() for _ in range(max_images)]
                self._lanes[max_images] = itertools.cycle(lanes)
            return next(self._lanes[max_images])

    def _run_here(self, call: Callable[[], Result], count: int, is_image: bool) -> Result:
        with process_state.FORK_GATE.held():
            queue = self._queue(count)
            _here.call = queue, queue.begin(is_image)
            try:
                return call()
            finally:
                _here.call = None

    def _queue(self, count: int) -> JobQueue:
        count = count if can_use_one_thread() else 1
        with self._lock:
            if count not in self._queues:
                self._queues[count] = JobQueue(count)
            return self._queues[count]


class _Work(Generic[Result]):
    """A call, and its result for the thread that waits for it.

    A `Future` would not do: its lock stays locked for good where the waiting thread is interrupted
    (`KeyboardInterrupt`) at the wrong moment.
    """

    def __init__(self, call: Callable[[], Result]) -> None:
        self._call = call
        self._outcome: SimpleQueue[tuple[Result | None, BaseException | None]] = SimpleQueue()

    def run(self) -> None:
        """Make the result. Nobody need wait for it: an interrupted caller is gone before."""
        outcome: tuple[Result | None, BaseException | None]
        try:
            outcome = self._call(), None
        except BaseException as error:
            outcome = None, error
        del self._call
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


COMPUTE_POOL = ComputePool()
"""The process's pool."""
