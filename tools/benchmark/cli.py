"""The command: reads what is asked for, runs it, prints and writes it."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmark import callers, machine, quick, report, scaling, servers
from benchmark.jobs import BUILT_IN, META, OURS, SYSTEMS, Facts, Roofline
from benchmark.memory import GIB, available
from benchmark.places import MODEL_FILE, REPOSITORY, Places
from benchmark.processes import WorkerProcess
from benchmark.table import ROWS, Measured, measure, named
from benchmark.weights import write_random_weights, write_weights

_DOCUMENT = REPOSITORY / "docs" / "benchmarks.md"
_SECTIONS = (*(row.name for row in ROWS), "roofline", "callers", "servers")
_SHARE_OF_MEMORY = 0.6
_TOLERANCE = 0.1  # of pixels, by which masks of two systems may differ without a word


def main(arguments: list[str] | None = None) -> int:
    """Return the exit status."""
    args = _read(arguments)
    if sys.platform != "linux":
        raise SystemExit("The benchmark reads /proc, so that it runs on Linux only.")
    most_bytes = int(min(args.memory_gib * GIB, _SHARE_OF_MEMORY * available()))
    if args.quick:
        return _quick(most_bytes)
    weights = args.weights
    if not (weights / MODEL_FILE).is_file():
        _say(f"writing {write_weights(weights)}")
    with tempfile.TemporaryDirectory() as scratch:
        places = Places(weights, Path(scratch))
        places.lay_out()
        text, record = _run(args, places, most_bytes)
    if args.write is not None:
        random = _measure_quick(most_bytes)
        args.write.parent.mkdir(parents=True, exist_ok=True)
        args.write.write_text(text + "\n")
        args.write.with_suffix(".json").write_text(
            json.dumps({**record, "quick": random}, indent=1) + "\n"
        )
        _say(f"wrote {args.write} and {args.write.with_suffix('.json')}")
    print(text)
    return 0


def _run(args: argparse.Namespace, places: Places, most_bytes: int) -> tuple[str, dict[str, Any]]:
    """Measure everything asked for; return it as Markdown and as what goes into the JSON."""
    facts: dict[str, Any] = {**machine.describe(), "precision": args.precision}
    with ExitStack() as stack:
        workers = {}
        facts.update(threads="unknown", computes_in="unknown")
        for name in args.systems:
            workers[name] = WorkerProcess(name, places, args.precision, most_bytes)
            stack.callback(workers[name].end)
        for name, worker in workers.items():
            told = worker.facts()
            if isinstance(told, Facts):
                facts.update({k: told.values[k] for k in facts.keys() & told.values.keys()})
            _say(f"{name}: {told}")
        command = shlex.join(["python", "tools/benchmark", *args.given])
        parts = ["# Benchmarks", _HEAD, report.machine(facts, command)]
        record: dict[str, Any] = {"machine": facts, "command": command}
        rows = [
            measure(row, workers, args.repeats, seed, _say)
            for seed, row in enumerate(ROWS, 1)
            if row in named(args.rows)
        ]
        if rows:
            parts += [report.table(rows, args.systems), *_doubts(rows)]
            record["rows"] = {measured.row.name: _figures(measured) for measured in rows}
        if "roofline" in args.rows and OURS in workers:
            parts += ["## Against the machine's limit", *_roofline(workers[OURS], record)]
        if "callers" in args.rows:
            loads = callers.measure(workers, max(1, args.repeats // 2), 100, _say)
            parts += ["## Several callers at once", report.callers(loads, args.systems)]
            record["callers"] = [{"title": load.title, **_plain(load)} for load in loads]
        if "servers" in args.rows:
            for worker in workers.values():
                worker.end()  # their memory is needed; started anew by who asks next
            fleets = servers.measure(
                lambda name, variables: WorkerProcess(
                    name, places, args.precision, most_bytes, variables
                ),
                args.repeats,
                300,
                _say,
            )
            parts += ["## Several processes at once", report.servers(fleets)]
            record["servers"] = [
                {"system": fleet.system, "waiting": fleet.waiting, "rates": fleet.rates}
                for fleet in fleets
            ]
        if args.plot is not None:
            shown = {n: workers[n] for n in (BUILT_IN, OURS) if n in workers}
            curves = scaling.measure(shown, max(1, args.repeats // 2), 200, _say)
            scaling.plot(curves, args.plot, f"{facts['cpu']}, {facts['cores']} cores")
            record["scaling"] = {name: _plain(curve) for name, curve in curves.items()}
            parts += ["## Growth", _plot_text(args, curves)]
    return "\n\n".join(parts), record


_HEAD = (
    "SAM 2 hiera_tiny on a CPU: the same machine, weights and workflow, the systems in turns. A\n"
    "cell is the median of the turns, their least and most, and the memory that a turn of its own\n"
    "added, by the operating system's count. How it is measured:\n"
    "[`tools/benchmark`](../tools/benchmark/README.md)."
)


def _roofline(worker: WorkerProcess, record: dict[str, Any]) -> list[str]:
    answer = worker.ask(Roofline(), 300)
    if not isinstance(answer, Facts):
        return [f"failed: {getattr(answer, 'why', 'no answer')}"]
    record["roofline"] = answer.values
    return [report.roofline(answer.values)]


def _doubts(rows: list[Measured]) -> list[str]:
    return [
        f"In `{measured.row.title}` masks differ by {measured.disagreement():.1%} of their pixels."
        for measured in rows
        if measured.disagreement() > _TOLERANCE
    ]


def _plot_text(args: argparse.Namespace, curves: dict[str, scaling.Curve]) -> str:
    base = (args.write or _DOCUMENT).resolve().parent
    link = Path(*args.plot.resolve().parts[len(base.parts) :])
    if not args.plot.resolve().is_relative_to(base):
        link = args.plot
    ends = [
        f"The curve of the {scaling.LABELS[name]} ends: {curve.end}."
        for name, curve in curves.items()
        if curve.end
    ]
    return "\n".join([f"![Time and memory over boxes]({link})", "", _OF_THE_PLOT, *ends])


_OF_THE_PLOT = (
    "Memory includes the masks returned. This block holds them as one dense array up to\n"
    "`SAM2_BLOCK_DENSE_MASK_BYTES` (1 GiB), as 300 boxes here, and compactly above, as 1000."
)


def _figures(measured: Measured) -> dict[str, Any]:
    ratio, memory = measured.ratio(), measured.ratio(of="added_bytes")
    return {
        "ratio": ratio.medians if ratio else None,
        "memory_ratio": memory.medians if memory else None,
        "reached": measured.reached(),
        "cells": {
            name: {
                "seconds": cell.seconds,
                "added_bytes": cell.added_bytes,
                "new_seconds": cell.new_seconds,
                "rows": [answer.rows for answer in cell.answers],
                "failure": cell.failure,
            }
            for name, cell in measured.cells.items()
        },
    }


def _plain(data: Any) -> dict[str, Any]:
    return dict(vars(data))


def _quick(most_bytes: int) -> int:
    record = _DOCUMENT.with_suffix(".json")
    recorded = json.loads(record.read_text()) if record.is_file() else None
    return quick.judge(_measure_quick(most_bytes), machine.describe(), recorded, print)


def _measure_quick(most_bytes: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        places = Places(Path(folder) / "weights", Path(folder) / "scratch")
        write_random_weights(places.weights)
        places.lay_out()
        return quick.measure_quick(places, most_bytes, _say)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _read(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="tools/benchmark", description="Measure this block against the engine's built-in one."
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="ours against Meta's predictor; fails on a collapse")
    add("--rows", nargs="+", choices=_SECTIONS, default=list(_SECTIONS), metavar="ROW")
    add("--systems", nargs="+", choices=SYSTEMS, default=[BUILT_IN, META, OURS], metavar="SYSTEM")
    add("--repeats", type=int, default=5, help="turns; fewer where one takes minutes")
    add("--precision", choices=("auto", "fp32", "bf16"), default="auto", help="of this block")
    add("--weights", type=Path, default=Path("runs/benchmark"), help="folder; made if need be")
    add("--memory-gib", type=float, default=12, help="most that a system may take")
    add("--write", type=Path, help="Markdown file; a JSON goes beside it")
    add("--plot", type=Path, help="PNG of time and memory over 1 to 1000 boxes")
    given = sys.argv[1:] if arguments is None else arguments
    args = parser.parse_args(given)
    args.given = given
    return args
