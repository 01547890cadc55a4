"""How time and memory grow with the number of boxes, and a plot of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmark.figures import Spread
from benchmark.jobs import LABELS, Answer, Job
from benchmark.memory import MIB
from benchmark.table import Asked, Say

COUNTS = (1, 3, 10, 30, 100, 300, 1000)
LONGEST_S = 60.0
_JOB = Job(1800, 1200, 1, encoded=True)


@dataclass
class Curve:
    """What one system took for so many boxes, up to where it failed, and why it did."""

    boxes: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    added_bytes: list[float] = field(default_factory=list)
    end: str | None = None


def measure(systems: Mapping[str, Asked], turns: int, seed: int, say: Say) -> dict[str, Curve]:
    """Measure every number of boxes, the systems in turn; one that fails is not asked for more."""
    curves = {name: Curve() for name in systems}
    for count in COUNTS:
        answers: dict[str, list[Answer]] = {name: [] for name in systems}
        for turn in range(turns):
            job = replace(_JOB, boxes=count, seed=(seed,), turn=turn)
            for name, system in systems.items():
                if curves[name].end is None:
                    answer = system.ask(job, LONGEST_S)
                    if isinstance(answer, Answer):
                        answers[name].append(answer)
                    else:
                        why = getattr(answer, "why", "no answer")
                        curves[name].end = f"{count} boxes: {why}"
        for name, of_system in answers.items():
            if of_system and curves[name].end is None:
                curves[name].boxes.append(count)
                curves[name].seconds.append(Spread.of([a.seconds for a in of_system]).median)
                curves[name].added_bytes.append(
                    Spread.of([float(a.added_bytes) for a in of_system]).median
                )
                say(f"  {count} boxes, {name}: {curves[name].seconds[-1]:.3f} s")
    return curves


def plot(curves: Mapping[str, Curve], path: Path, subtitle: str) -> None:
    """Draw time and memory over boxes.

    Raises:
        SystemExit: matplotlib is not installed.
    """
    try:
        import matplotlib
    except ModuleNotFoundError:
        raise SystemExit("--plot needs matplotlib: pip install matplotlib") from None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(10, 4.5), layout="constrained")
    for name, curve in curves.items():
        if curve.boxes:
            memory = [max(1.0, added / MIB) for added in curve.added_bytes]
            for axis, values in zip(axes, (curve.seconds, memory), strict=True):
                end = f" ({curve.end})" if curve.end else ""
                axis.plot(curve.boxes, values, marker="o", label=LABELS[name] + end)
    for axis, label in zip(axes, ("seconds", "added memory, MiB"), strict=True):
        axis.set(xscale="log", yscale="log", xlabel="boxes", ylabel=label)
        axis.set_xticks(COUNTS, [str(count) for count in COUNTS])
        axis.grid(visible=True, which="major", alpha=0.4)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    figure.suptitle(f"Encoded image of 1800x1200\n{subtitle}", fontsize=10)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
