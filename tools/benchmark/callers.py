"""Several callers at once on one model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from benchmark.figures import Spread
from benchmark.jobs import Answer, Job
from benchmark.table import Asked, Say

COUNTS = (1, 2, 4, 8)

# Each caller sends so many requests one after the other, about images of its own.
_WORK = {
    "new 1800x1200 image, 1 box": Job(1800, 1200, 1, requests=2),
    "encoded image, 10 boxes": Job(1800, 1200, 10, encoded=True, requests=3),
}
_TIMEOUT_S = 600


@dataclass
class Load:
    """Requests a second of a kind of work with so many callers.

    Attributes:
        title: The work.
        callers: How many at once.
        rates: Requests a second in every turn, by system.
        added: Most added bytes, by system.
        failures: Why a system has no figure.
    """

    title: str
    callers: int
    rates: dict[str, list[float]] = field(default_factory=dict)
    added: dict[str, float] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    @property
    def texts(self) -> dict[str, str]:
        """What the table says of each system."""
        texts = {name: f"failed: {why}" for name, why in self.failures.items()}
        for name, rates in self.rates.items():
            if name not in texts:
                mib = self.added[name] / 1024**2
                texts[name] = f"{Spread.of(rates).median:.2f}, {mib:.0f} MiB"
        return texts


def measure(systems: Mapping[str, Asked], turns: int, seed: int, say: Say) -> list[Load]:
    """Measure every kind of work with every number of callers, the systems in turn."""
    loads = []
    for kind, (title, work) in enumerate(_WORK.items()):
        for system in systems.values():
            system.ask(replace(work, requests=1, seed=(seed, kind, 99)), _TIMEOUT_S)  # warms up
        for count in COUNTS:
            load = Load(title, count)
            for turn in range(turns):
                # With encoded images the first turn of a count encodes, before the clock starts.
                place = (seed, kind, 0 if work.encoded else turn * 100 + count)
                job = replace(work, callers=count, seed=place, turn=turn * 100 + count)
                for name, system in systems.items():
                    if name not in load.failures:
                        _ask(load, name, system, job)
            loads.append(load)
            say(f"  callers {count}, {title}: {load.texts}")
    return loads


def _ask(load: Load, name: str, system: Asked, job: Job) -> None:
    answer = system.ask(job, _TIMEOUT_S)
    if not isinstance(answer, Answer):
        load.failures[name] = getattr(answer, "why", "no answer")
        return
    load.rates.setdefault(name, []).append(job.callers * job.requests / answer.seconds)
    load.added[name] = max(load.added.get(name, 0.0), float(answer.added_bytes))
