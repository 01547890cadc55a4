"""The child process: loads one system, then does the jobs that come over the pipe."""

from __future__ import annotations

import ctypes
import logging
import os
import resource
import signal
import sys
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmark.jobs import OURS_BF16, OURS_FP32, Answer, Facts, Failure, Job, Roofline
from benchmark.memory import GIB, resident, restart_peak
from benchmark.pictures import Boxes, Image, make_boxes, make_image
from benchmark.places import Places
from benchmark.systems import Caller, System, device, load

_PR_SET_PDEATHSIG = 1
_KEPT_IMAGES = 16  # those that encoded jobs may ask about again

Request = tuple[list[Image], list[Boxes]]


class Worker:
    """Does jobs with one system."""

    def __init__(self, name: str, places: Places) -> None:
        self._system: System = load(name, places)
        self._callers: list[Caller] = []
        self._images: dict[tuple[int, ...], Image] = {}

    def do(self, job: Job) -> Answer:
        """Do a job once; only the requests themselves are timed."""
        callers = self._take_callers(job.callers)
        work = [self._requests(job, index) for index in range(job.callers)]
        if job.encoded:
            for caller, requests in zip(callers, work, strict=True):
                for images, _ in requests:
                    one = make_boxes([*job.seed, 1], 1, job.width, job.height)
                    caller.segment(images, [one] * len(images))
        before = restart_peak() if job.counted else 0
        _finish_gpu()
        start = time.perf_counter()
        results = _ask(callers[0], work[0]) if job.callers == 1 else _ask_at_once(callers, work)
        _finish_gpu()
        seconds = time.perf_counter() - start
        added = resident("VmHWM") - before if job.counted else 0
        sizes = [callers[0].sizes(result) for result in results]
        rows, area = (sum(size[axis] for size in sizes) for axis in (0, 1))
        return Answer(seconds, added, rows, area)

    def _take_callers(self, count: int) -> list[Caller]:
        while len(self._callers) < count:
            self._callers.append(self._system.caller())
        return self._callers[:count]

    def _requests(self, job: Job, caller: int) -> list[Request]:
        """Return the requests of one caller; encoded jobs always ask about the same images."""
        requests = []
        for request in range(job.requests):
            images, boxes = [], []
            for index in range(job.images):
                seed = (*job.seed, caller, 0 if job.encoded else request, index)
                images.append(self._image(seed, job))
                turn = [*seed, 2, job.turn, request]
                boxes.append(make_boxes(turn, job.boxes, job.width, job.height))
            requests.append((images, boxes))
        return requests

    def _image(self, seed: tuple[int, ...], job: Job) -> Image:
        key = (*seed, job.width, job.height)
        image = self._images.get(key)
        if image is None:
            image = make_image(seed, job.width, job.height)
            if job.images == 1:
                self._images[key] = image
            while len(self._images) > _KEPT_IMAGES:
                self._images.pop(next(iter(self._images)))
        return image


def _finish_gpu() -> None:
    """Wait until the GPU has done what was queued."""
    if device() == "cuda":
        import torch

        torch.cuda.synchronize()


def _ask(caller: Caller, requests: list[Request]) -> list[Any]:
    # Only the last result is kept: a server, too, has sent off the one before.
    result = None
    for images, boxes in requests:
        result = caller.segment(images, boxes)
    return [result]


def _ask_at_once(callers: list[Caller], work: list[list[Request]]) -> list[Any]:
    results: list[Any] = []
    errors: list[Exception] = []

    def run(caller: Caller, requests: list[Request]) -> None:
        try:
            results.extend(_ask(caller, requests))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=pair) for pair in zip(callers, work, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results


def _facts() -> Facts:
    import torch

    facts = {"threads": torch.get_num_threads(), "resident": resident("VmRSS")}
    return Facts(facts)


def serve(pipe: Connection, name: str, places: Places) -> None:
    """Load, say so, and answer until the parent closes the pipe."""
    try:
        worker = Worker(name, places)
        worker._take_callers(1)
        pipe.send(_facts())
    except Exception as error:
        pipe.send(Failure(brief(error)))
        return
    while True:
        try:
            job = pipe.recv()
        except EOFError:
            return
        answer: Answer | Facts | Failure
        try:
            answer = _roofline(name) if isinstance(job, Roofline) else worker.do(job)
        except Exception as error:
            answer = Failure(brief(error))
        pipe.send(answer)


def _roofline(name: str) -> Facts:
    from benchmark.roofline import measure

    if name not in (OURS_FP32, OURS_BF16):
        raise ValueError("the roofline is measured beside our own block only")
    return Facts(measure())


def brief(error: Exception) -> str:
    """Say an error in one line, and a want of memory, which every library words anew, alike."""
    if "allocate" in str(error):
        limit, _ = resource.getrlimit(resource.RLIMIT_DATA)
        return f"needs more than {limit / GIB:.1f} GiB"
    lines = str(error).split("\n") or [""]
    return f"{type(error).__name__}: {lines[0][:200]}"


def main(arguments: list[str]) -> None:
    """Start: file descriptor of the pipe, system, weights, scratch, most bytes of memory."""
    descriptor, name, weights, scratch, most_bytes = arguments
    # It must not outlive the parent, which watches its memory.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    resource.setrlimit(resource.RLIMIT_DATA, (int(most_bytes), int(most_bytes)))
    places = Places(Path(weights), Path(scratch))
    os.chdir(places.work)
    logging.disable(logging.ERROR)
    pipe = Connection(int(descriptor))
    sys.stdout = sys.stderr  # the parent's stdout is for the table
    serve(pipe, name, places)
