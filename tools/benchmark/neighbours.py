"""Requests beside other work on the same cores."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from benchmark.jobs import Answer, Job
from benchmark.table import Asked, Say

# Each prints a line when it has begun.
_LOOP = "print(flush=True)\nwhile True: pass"
_TORCH = "import torch; x = torch.ones(1500, 1500); print(flush=True)\nwhile True: x @ x"
NEIGHBOURS: Mapping[str, Sequence[str]] = {
    "nothing": (),
    "two busy loops": (_LOOP, _LOOP),
    "two torch processes": (_TORCH, _TORCH),
}

_WORK = {
    "new 1800x1200 image, 1 box": Job(1800, 1200, 1, counted=False),
    "encoded image, 10 boxes": Job(1800, 1200, 10, encoded=True, counted=False),
    "encoded image, 100 boxes": Job(1800, 1200, 100, encoded=True, counted=False),
}
# A system that takes long is asked less often, so that the run ends.
_MAX_S = 60
_TIMEOUT_S = 300


@dataclass
class Beside:
    """Times of a kind of work beside some neighbours.

    Attributes:
        title: The work.
        beside: One of `NEIGHBOURS`.
        seconds: Of every request, by system.
        failures: Why a system has no figure.
    """

    title: str
    beside: str
    seconds: dict[str, list[float]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


def measure(systems: Mapping[str, Asked], requests: int, seed: int, say: Say) -> list[Beside]:
    """Measure every kind of work beside all neighbours, the systems in turn."""
    measured = []
    for index, (beside, programs) in enumerate(NEIGHBOURS.items()):
        for kind, (title, work) in enumerate(_WORK.items()):
            one = Beside(title, beside)
            for name, system in systems.items():  # warms up, with nothing beside
                _ask(one, name, system, replace(work, seed=(seed, index, kind, 0)))
            one.seconds.clear()
            with _running(programs):
                for turn in range(1, requests + 1):
                    place = (seed, index, kind, 0 if work.encoded else turn)
                    for name, system in systems.items():
                        _ask(one, name, system, replace(work, seed=place, turn=turn))
            measured.append(one)
            worst = {name: round(max(times), 3) for name, times in one.seconds.items()}
            say(f"  beside {beside}, {title}: worst {worst} {one.failures}")
    return measured


def _ask(one: Beside, name: str, system: Asked, job: Job) -> None:
    if name in one.failures or sum(one.seconds.get(name, ())) > _MAX_S:
        return
    answer = system.ask(job, _TIMEOUT_S)
    if isinstance(answer, Answer):
        one.seconds.setdefault(name, []).append(answer.seconds)
    else:
        one.failures[name] = getattr(answer, "why", "no answer")


@contextlib.contextmanager
def _running(programs: Sequence[str]) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for program in programs:
            command = [sys.executable, "-c", program]
            process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE))
            stack.callback(process.kill)
            assert process.stdout is not None
            process.stdout.readline()
        yield
