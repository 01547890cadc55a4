"""The command: reads what is asked for, runs it, prints and records it."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmark import callers, cuda, machine, neighbours, quick, report, scaling, servers
from benchmark.jobs import BUILT_IN, DEFAULT, SYSTEMS, Facts, Roofline
from benchmark.memory import GIB, available
from benchmark.places import MODEL_FILE, REPOSITORY, Places
from benchmark.processes import WorkerProcess
from benchmark.table import ROWS, measure, named
from benchmark.weights import write_random_weights, write_weights

_RECORD = REPOSITORY / "docs" / "benchmarks.json"
_PLOT = "scaling.png"
_OTHERS = ("roofline", "callers", "neighbours", "servers", "growth", "quick")
_SECTIONS = (*(row.name for row in ROWS), *_OTHERS)
_SHARE_OF_MEMORY = 0.6


def main(arguments: list[str] | None = None) -> int:
    """Return the exit status."""
    args = _read(arguments)
    if sys.platform != "linux":
        raise SystemExit("The benchmark reads /proc, so that it runs on Linux only.")
    recorded = json.loads(_RECORD.read_text()) if _RECORD.is_file() else {}
    if args.render:
        _write(recorded)
        return 0
    if args.device == "cuda":
        cuda.require_cuda()
        _make_weights(args.weights)
        rows = named(args.rows)
        print(cuda.measure_rows(rows, args.systems, args.repeats, args.weights, _say))
        return 0
    max_bytes = int(min(args.memory_gib * GIB, _SHARE_OF_MEMORY * available()))
    if args.quick:
        recorded_quick = recorded.get("quick")
        return quick.judge(lambda: _quick(max_bytes), machine.describe(), recorded_quick, print)
    measured: dict[str, Any] = {}
    for name, figures, threads in _measure(args, max_bytes):
        command = shlex.join(["python", "tools/benchmark", *args.given])
        facts = {**machine.describe(), "threads": threads, "command": command}
        measured[name] = {"run": facts, "figures": figures}
        if args.record:  # after every section: a run that is stopped loses only the next
            _write({**recorded, **measured})
    print(report.document(measured))
    return 0


def _measure(args: argparse.Namespace, max_bytes: int) -> Iterator[tuple[str, Any, int]]:
    """Yield the name of each section, its figures, and the number of PyTorch's threads."""
    weights = args.weights
    _make_weights(weights)
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        places = Places(weights, Path(scratch))
        places.lay_out()
        workers = {}
        for name in args.systems:
            workers[name] = WorkerProcess(name, places, max_bytes)
            stack.callback(workers[name].end)
        threads = 0
        for name, worker in workers.items():
            facts = worker.facts()
            threads = facts.values["threads"] if isinstance(facts, Facts) else threads
            _say(f"{name}: {facts}")
        rows = named(args.rows)
        if rows:
            yield "rows", _rows(rows, workers, args.repeats), threads
        if "roofline" in args.rows and DEFAULT in workers:
            limit = workers[DEFAULT].ask(Roofline(), 300)
            if not isinstance(limit, Facts):
                raise SystemExit(f"roofline: {getattr(limit, 'why', 'no result')}")
            yield "roofline", limit.values, threads
        turns = max(1, args.repeats // 2)
        if "callers" in args.rows:
            loads = callers.measure(workers, turns, 100, _say)
            texts = [{"title": x.title, "callers": x.callers, "texts": x.texts} for x in loads]
            yield "callers", texts, threads
        if "neighbours" in args.rows:
            beside = neighbours.measure(workers, args.repeats * 5, 400, _say)
            yield "neighbours", [vars(one) for one in beside], threads
        if "growth" in args.rows:
            shown = {n: workers[n] for n in (BUILT_IN, DEFAULT) if n in workers}
            curves = scaling.measure(shown, turns, 200, _say)
            scaling.plot(curves, _RECORD.with_name(_PLOT), _subtitle(machine.describe()))
            points = {name: dict(vars(curve)) for name, curve in curves.items()}
            yield "growth", {"plot": _PLOT, "curves": points}, threads
        for worker in workers.values():
            worker.end()  # their memory is needed; started anew on the next request
        if "servers" in args.rows:
            fleets = servers.measure(
                lambda name: WorkerProcess(name, places, max_bytes), args.repeats, 300, _say
            )
            rates = [{"system": x.system, "rates": x.rates} for x in fleets]
            yield "servers", json.loads(json.dumps(rates)), threads  # keys as JSON has them
        if "quick" in args.rows:
            yield "quick", _quick(max_bytes), threads


def _make_weights(folder: Path) -> None:
    if not (folder / MODEL_FILE).is_file():
        _say(f"writing {write_weights(folder)}")


def _subtitle(facts: dict[str, Any]) -> str:
    return f"{facts['cpu']}, {facts['cores']} cores"


def _rows(rows: list[Any], workers: dict[str, WorkerProcess], repeats: int) -> dict[str, Any]:
    seeds = {row.name: seed for seed, row in enumerate(ROWS, 1)}
    return {
        row.name: measure(row, workers, repeats, seeds[row.name], _say).record() for row in rows
    }


def _write(sections: dict[str, Any]) -> None:
    """Write the record, the document made of it, and the table of docs/performance.md."""
    _RECORD.write_text(json.dumps(sections, indent=1) + "\n")
    _RECORD.with_suffix(".md").write_text(report.document(sections))
    if "rows" in sections:
        page = REPOSITORY / "docs" / "performance.md"
        before, begin, rest = page.read_text().partition("<!-- speed -->\n")
        _, end, after = rest.partition("<!-- /speed -->\n")
        text = report.speed(sections["rows"])
        page.write_text(f"{before}{begin}{text}\n{end}{after}")
    _say(f"wrote {_RECORD}, {_RECORD.with_suffix('.md')} and docs/performance.md")


def _quick(max_bytes: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        places = Places(Path(folder) / "weights", Path(folder) / "scratch")
        write_random_weights(places.weights)
        places.lay_out()
        return quick.measure_quick(places, max_bytes, _say)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _read(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="tools/benchmark", description="Measure this block against the engine's built-in one."
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="ours against Meta's predictor; fails on a collapse")
    add("--rows", nargs="+", choices=_SECTIONS, default=list(_SECTIONS), metavar="ROW")
    add("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS), metavar="SYSTEM")
    add("--device", choices=("cpu", "cuda"), default="cpu", help="cuda: the table's rows, printed")
    add("--repeats", type=int, default=5, help="turns; fewer where one takes minutes")
    add("--weights", type=Path, default=Path("runs/benchmark"), help="folder; made if need be")
    add("--memory-gib", type=float, default=12, help="most that a system may take")
    add("--record", action="store_true", help="put what is measured into docs/benchmarks.json")
    add("--render", action="store_true", help="only make docs/benchmarks.md of the record")
    given = sys.argv[1:] if arguments is None else arguments
    args = parser.parse_args(given)
    args.given = given
    rows = {row.name for row in ROWS}
    if args.device == "cuda" and (args.record or args.quick):
        parser.error("--device cuda prints the rows of the table: not with --record or --quick")
    if args.record and (rows & set(args.rows)) not in (set(), rows):
        parser.error("--record takes all rows of the table, or none: they share one account")
    return args
