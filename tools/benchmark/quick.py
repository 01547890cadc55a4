"""The quick form: ours against Meta's predictor, and a failure only where a ratio has collapsed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmark.figures import collapsed
from benchmark.jobs import METAS_AND_OURS, Facts
from benchmark.machine import same_machine
from benchmark.places import Places
from benchmark.processes import WorkerProcess
from benchmark.report import cell_text
from benchmark.table import Say, measure, named

_TURNS = {"new-1": 3, "encoded-10": 2}


def measure_quick(places: Places, most_bytes: int, say: Say) -> dict[str, float]:
    """Return Meta's time over ours in the same precision, by `<precision> <row>`.

    A precision that this processor does not multiply in hardware is left out.
    """
    everyone = {
        name: WorkerProcess(name, places, most_bytes)
        for pair in METAS_AND_OURS.values()
        for name in pair
    }
    for worker in everyone.values():
        worker.start()  # all at once: loading takes longer than what is measured
    try:
        facts = {name: worker.facts() for name, worker in everyone.items()}
        for name, fact in facts.items():
            if not isinstance(fact, Facts):
                raise SystemExit(f"{name} does not start: {fact.why}")
        ratios: dict[str, float] = {}
        for row in named(list(_TURNS)):
            measured = measure(row, everyone, _TURNS[row.name], 0, _silent)
            for precision, pair in METAS_AND_OURS.items():
                ratio = measured.ratio(*pair)
                texts = {name: cell_text(measured.cells[name], measured) for name in pair}
                if ratio is None and precision == "fp32":
                    raise SystemExit(f"{precision} {row.name}: {texts}")
                if ratio is not None:
                    # Other work slows both turns of a pair, or one pair among several.
                    ratios[f"{precision} {row.name}"] = ratio.pairs
                    say(f"{precision} {row.name}: Meta's : ours {ratio.pairs:.2f} {texts}")
        return ratios
    finally:
        for worker in everyone.values():
            worker.end()


def judge(
    measure_ratios: Callable[[], dict[str, float]],
    here: dict[str, Any],
    recorded: dict[str, Any] | None,
    say: Say,
) -> int:
    """Measure, compare with the record and return the exit status.

    A ratio has collapsed where it is below half of the recorded in two measurements.

    Args:
        measure_ratios: Measures as `measure_quick` does.
        here: This machine, as `machine.describe` gives it.
        recorded: The section `quick` of the record; None where there is none.
        say: Prints.
    """
    measured = measure_ratios()
    if not recorded:
        say("Nothing is recorded to compare with.")
        return 0
    same = same_machine(here, recorded["run"])
    if not same:
        say("The record is of another machine: only fp32 is judged.")
    problems = collapsed(measured, recorded["figures"], same_machine=same)
    if problems:
        say("Measured again, as other work may have slowed the machine: " + "; ".join(problems))
        again = measure_ratios()
        best = {name: max(ratio, again.get(name, 0.0)) for name, ratio in measured.items()}
        problems = collapsed(best, recorded["figures"], same_machine=same)
    for problem in problems:
        say(f"COLLAPSED {problem}")
    return 1 if problems else 0


def _silent(text: str) -> None:
    del text
