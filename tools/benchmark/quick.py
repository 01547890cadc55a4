"""The quick form: ours against Meta's predictor, and a failure only where a ratio has collapsed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from benchmark.figures import collapsed
from benchmark.jobs import META, OURS, Facts
from benchmark.machine import same_machine
from benchmark.places import Places
from benchmark.processes import WorkerProcess
from benchmark.report import cell_text
from benchmark.table import Say, measure, named

_TURNS = {"new-1": 2, "encoded-10": 2}
_PRECISIONS = ("fp32", "auto")


def measure_quick(places: Places, most_bytes: int, say: Say) -> dict[str, float]:
    """Return Meta's time over ours, by `<precision> <row>`."""
    ours = {p: WorkerProcess(OURS, places, p, most_bytes) for p in _PRECISIONS}
    meta = WorkerProcess(META, places, "auto", most_bytes)
    everyone = {**ours, META: meta}
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
            for precision in _PRECISIONS:
                pair = replace(
                    measured,
                    cells={OURS: measured.cells[precision], META: measured.cells[META]},
                )
                ratio = pair.ratio(META)
                texts = {name: cell_text(cell, pair) for name, cell in pair.cells.items()}
                if ratio is None:
                    raise SystemExit(f"{precision} {row.name}: {texts}")
                ratios[f"{precision} {row.name}"] = ratio.medians
                say(f"{precision} {row.name}: Meta's : ours {ratio.medians:.2f} {texts}")
        return ratios
    finally:
        for worker in everyone.values():
            worker.end()


def judge(
    measured: dict[str, float], here: dict[str, Any], recorded: dict[str, Any] | None, say: Say
) -> int:
    """Compare with the record and return the exit status."""
    if not recorded or "quick" not in recorded:
        say("Nothing is recorded to compare with.")
        return 0
    same = same_machine(here, recorded["machine"])
    if not same:
        say("The record is of another machine: only fp32 is judged.")
    problems = collapsed(measured, recorded["quick"], same_machine=same)
    for problem in problems:
        say(f"COLLAPSED {problem}")
    return 1 if problems else 0


def _silent(text: str) -> None:
    del text
