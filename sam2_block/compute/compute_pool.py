"""Run PyTorch's work on a CPU in threads that this package owns and never ends.

PyTorch uses several cores through OpenMP, which keeps a team of threads for each thread that calls
it.

A thread that has a team must not fork: the child inherits the team's records without its threads,
and waits for them forever (pytorch/pytorch#17199). Any thread of the application may fork, most
often the main one, so nothing is computed in a caller's thread. A thread that has computed must not
end during a fork either: MKL then frees its buffers, under a lock that the child would wait for.
Threads of this package therefore never end.

A call runs in a thread without a team, and passes its long computations to `JobQueue` through
`each`. However many calls run, they keep all cores busy that the process may use, and no more.

If PyTorch's OpenMP is not GNU's (macOS, Windows, Intel's), a thread cannot be prevented from having
a team. One thread then runs the jobs of all calls, on all cores.
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

# Maximum number of concurrent calls, not counting those that encode an image; more calls wait.
_MAX_CALLS = 64


class _ThreadState(threading.local):
    """The call that the current thread runs, and the queue for its jobs."""

    call: tuple[JobQueue, Call] | None = None


_thread_state = _ThreadState()


def each(job: Callable[[Item], None], items: Iterable[Item]) -> None:
    """Run a job for each item, on all cores of the current call.

    Jobs run in any order, in inference mode. Outside a call, and within a job, they run one after
    the other in the current thread.
    """
    if _thread_state.call is None:
        for item in items:
            job(item)
        return
    queue, call = _thread_state.call
    queue.run(call, job, list(items))


def cores() -> int:
    """Return how many jobs of `each` run at once in the current thread's call."""
    return _thread_state.call[0].cores if _thread_state.call else 1


class ComputePool:
    """Runs calls and their jobs. Thread-safe."""

    def __init__(self) -> None:
        self.reset_after_fork()
        process_state.register(self)

    def reset_after_fork(self) -> None:
        """Start without threads and jobs: the parent's threads are not in the child."""
        self._lock = threading.RLock()
        self._calls: dict[int, ThreadPoolExecutor] = {}
        self._queues: dict[int, JobQueue] = {}
        self._image_locks: dict[int, Iterator[threading.Lock]] = {}
        _thread_state.call = None  # of the thread that forked

    def run(
        self,
        device: torch.device,
        call: Callable[[], Result],
        *,
        max_cores: int = 0,
        max_images: int = 0,
    ) -> Result:
        """Run a call; return its result, or raise its error.

        Args:
            device: The device that the call computes on. For any device but a CPU, the call runs in
                the caller's thread, and so on the caller's CUDA stream.
            call: Computes the result. On a CPU it runs without the caller's thread-local state,
                such as autocast.
            max_cores: Maximum number of cores that the call uses; 0 for all that the process may.
            max_images: For a call that encodes an image, the maximum number of such calls that run
                at once, first come, first served; 0 for any other call.

        Raises:
            ForkError: This process was forked during such a call.
        """
        if _thread_state.call is not None:
            return call()
        if device.type != "cpu":
            with self._image_lock(max_images):
                return call()
        count = max_cores or usable_cores()
        work = _Work(lambda: self._run_call(call, count, bool(max_images)))
        try:
            self._start(work, max_images)
        except RuntimeError:  # the interpreter is shutting down, or cannot start a thread
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
            except BaseException:  # even an interruption: the pool's new thread may never start
                del self._calls[max_images]
                raise

    def _image_lock(self, max_images: int) -> AbstractContextManager[object]:
        """Return the lock to encode an image under, on any device but a CPU; for other calls, none.

        Images take `max_images` locks in turn, so that no more are encoded at once. A semaphore is
        unsuitable: it is Python code, in which `KeyboardInterrupt` may occur before the permit is
        released.
        """
        if not max_images:
            return nullcontext()
        with self._lock:
            if max_images not in self._image_locks:
                locks = [threading.Lock() for _ in range(max_images)]
                self._image_locks[max_images] = itertools.cycle(locks)
            return next(self._image_locks[max_images])

    def _run_call(self, call: Callable[[], Result], count: int, is_image: bool) -> Result:
        with process_state.FORK_GATE.held():
            queue = self._queue(count)
            _thread_state.call = queue, queue.begin(is_image)
            try:
                return call()
            finally:
                _thread_state.call = None

    def _queue(self, count: int) -> JobQueue:
        count = count if can_use_one_thread() else 1
        with self._lock:
            if count not in self._queues:
                self._queues[count] = JobQueue(count)
            return self._queues[count]


class _Work(Generic[Result]):
    """A call, and its result for the thread that waits for it.

    A `Future` is unsuitable: if the waiting thread is interrupted (`KeyboardInterrupt`) at the
    wrong moment, its lock stays locked forever.
    """

    def __init__(self, call: Callable[[], Result]) -> None:
        self._call = call
        self._outcome: SimpleQueue[tuple[Result | None, BaseException | None]] = SimpleQueue()

    def run(self) -> None:
        """Compute the result. An interrupted caller has stopped waiting for it by then."""
        outcome: tuple[Result | None, BaseException | None]
        try:
            outcome = self._call(), None
        except BaseException as error:
            outcome = None, error
        del self._call
        self._outcome.put(outcome)
        del outcome  # an error's traceback refers to this frame

    def result(self) -> Result:
        """Wait for the call; return its result, or raise its error."""
        value, error = self._outcome.get()
        try:
            if error is not None:
                raise error
            return cast(Result, value)
        finally:
            del error  # its traceback refers to this frame


COMPUTE_POOL = ComputePool()
"""The process's pool."""
