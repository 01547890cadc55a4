"""Several processes at once, as a server's workers are."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from benchmark.figures import Spread
from benchmark.jobs import METAS_AND_OURS, Answer, Job
from benchmark.processes import WorkerProcess
from benchmark.table import Asked, Say

COUNTS = (1, 2, 4)
_WORK = Job(1800, 1200, 1, requests=3, counted=False)
_TIMEOUT_S = 300

Start = Callable[[str], WorkerProcess]


@dataclass
class Fleet:
    """Processes of one system, alike.

    Attributes:
        system: One of `SYSTEMS`.
        workers: The processes.
        rates: Images a second of all that were asked, in every turn, by how many were asked.
    """

    system: str
    workers: list[Asked]
    rates: dict[int, list[float]] = field(default_factory=dict)

    def text(self, count: int) -> str:
        """What the table says of so many of them."""
        spread = Spread.of(self.rates[count])
        return f"{spread.median:.2f} ({spread.least:.2f} to {spread.most:.2f})"


def measure(start: Start, turns: int, seed: int, say: Say) -> list[Fleet]:
    """Measure new images in one process and in several at once, a pair of fleets in turn.

    Args:
        start: Makes a process of a system.
        turns: How often each is measured.
        seed: Of the images.
        say: Reports progress.
    """
    measured = []
    # More systems in turn would need more memory than a small machine has.
    for systems in METAS_AND_OURS.values():
        with ExitStack() as stack:
            fleets = [Fleet(system, _started(start, system, stack)) for system in systems]
            run(fleets, turns, seed, say)
            measured += fleets
    return measured


def _started(start: Start, system: str, stack: ExitStack) -> list[Asked]:
    workers: list[Asked] = []
    for _ in range(max(COUNTS)):
        worker = start(system)
        worker.start()  # in this thread: a worker ends with the thread that started it
        stack.callback(worker.end)
        workers.append(worker)
    return workers


def run(fleets: list[Fleet], turns: int, seed: int, say: Say) -> None:
    """Warm every process up, then measure the fleets in turns."""
    for fleet in fleets:
        _ask(fleet, max(COUNTS), replace(_WORK, requests=1, seed=(seed, 99)))
    for turn in range(turns):
        for count in COUNTS:
            job = replace(_WORK, seed=(seed, turn, count), turn=turn)
            for fleet in (*fleets[turn % len(fleets) :], *fleets[: turn % len(fleets)]):
                fleet.rates.setdefault(count, []).append(_ask(fleet, count, job))
    for fleet in fleets:
        say(f"  {fleet.system}: {[fleet.text(count) for count in COUNTS]}")


def _ask(fleet: Fleet, count: int, job: Job) -> float:
    """Return the images a second of some of the processes, asked at the same time."""
    with ThreadPoolExecutor(count) as pool:
        answers = list(pool.map(lambda one: one.ask(job, _TIMEOUT_S), fleet.workers[:count]))
    rate = 0.0
    for answer in answers:
        if not isinstance(answer, Answer):
            raise SystemExit(f"{fleet.system}: {getattr(answer, 'why', 'no answer')}")
        rate += job.requests / answer.seconds
    return rate
