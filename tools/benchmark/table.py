"""The rows of the table, what is to be reached in each, and their measurement in paired turns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from benchmark.figures import Ratio
from benchmark.jobs import BUILT_IN, DEFAULT, Answer, Facts, Failure, Job, Roofline
from benchmark.memory import GIB, MIB

Say = Callable[[str], None]

_WARM, _COUNTED = -2, -1  # turns before the timed ones


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        name: On the command line and in the JSON.
        title: In the table.
        job: What is timed; its seed and turn are set anew for every turn.
        reach: Least ratio, built-in (fp32) : ours by default (fp32); with `again`, our own new
            image : the same again.
        memory_share: Most of our added memory, as a share of the built-in block's.
        memory_bytes: Most of our added memory.
        again: A new image is timed first, then the same one again with other boxes.
        often: Turns, as a multiple of those asked for: what is short scatters more.
        most_turns: Turns at most, where one takes minutes.
        timeout_s: For one job.
    """

    name: str
    title: str
    job: Job
    reach: float | None = None
    memory_share: float | None = None
    memory_bytes: int | None = None
    again: bool = False
    often: int = 1
    most_turns: int = 100
    timeout_s: float = 600


_SMALL, _LARGE = Job(1800, 1200, 1), Job(4000, 3000, 1, encoded=True)
_ENCODED = replace(_SMALL, encoded=True)

ROWS = (
    Row("new-1", "new 1800x1200 image, 1 box", _SMALL, 4),
    Row("encoded-10", "encoded image, 10 boxes", replace(_ENCODED, boxes=10), 11, often=3),
    Row(
        "encoded-100",
        "encoded image, 100 boxes",
        replace(_ENCODED, boxes=100),
        16,
        memory_share=1 / 8,
    ),
    Row(
        "large-30",
        "4000x3000 image, 30 boxes (encoded)",
        replace(_LARGE, boxes=30),
        most_turns=2,
    ),
    Row(
        "large-100",
        "4000x3000 image, 100 boxes (encoded)",
        replace(_LARGE, boxes=100),
        10,
        memory_bytes=GIB,
        most_turns=1,
    ),
    Row("again", "the same image again, other prompts", _SMALL, 20, again=True, often=3),
    Row(
        "batch-16",
        "16 new images, 5 boxes each (throughput)",
        replace(_SMALL, boxes=5, images=16),
        3,
        most_turns=1,
        timeout_s=900,
    ),
)


class Asked(Protocol):
    """Whoever does jobs: a `WorkerProcess`."""

    def ask(self, job: Job | Roofline, timeout_s: float) -> Answer | Facts | Failure:
        """Have a job done."""


@dataclass
class Cell:
    """What one system did in one row.

    Attributes:
        seconds: Of the turns that were timed.
        added_bytes: Added memory, of the turns in which it was counted.
        new_seconds: Where a row times a new image too.
        area: Pixels of all masks of the first timed turn.
        failure: Why there is no figure.
    """

    seconds: list[float] = field(default_factory=list)
    added_bytes: list[float] = field(default_factory=list)
    new_seconds: list[float] = field(default_factory=list)
    area: int = 0
    failure: str | None = None


@dataclass
class Measured:
    """A row with its cells by system."""

    row: Row
    cells: dict[str, Cell]

    @classmethod
    def of_record(cls, name: str, record: dict[str, Any]) -> Measured:
        """Return what `record` was made from."""
        (row,) = named([name])
        return cls(row, {system: Cell(**cell) for system, cell in record.items()})

    def record(self) -> dict[str, Any]:
        """Return the cells as JSON holds them."""
        return {system: dict(vars(cell)) for system, cell in self.cells.items()}

    def ratio(self, over: str, ours: str, of: str = "seconds") -> Ratio | None:
        """Return theirs : ours, or None where one of both has no figure."""
        mine, theirs = self.cells.get(ours), self.cells.get(over)
        if mine is None or mine.failure or theirs is None or theirs.failure:
            return None
        return Ratio.of(getattr(theirs, of), getattr(mine, of))

    def reached(self) -> float | None:
        """Return the ratio that `row.reach` asks for, where it could be measured."""
        if self.row.again:
            ours = self.cells.get(DEFAULT)
            if ours is None or ours.failure:
                return None
            return Ratio.of(ours.new_seconds, ours.seconds).medians
        ratio = self.ratio(BUILT_IN, DEFAULT)
        return ratio.medians if ratio else None

    def disagreement(self) -> float:
        """Return by how much the systems' masks differ in pixels, as a share of the fewest."""
        areas = [cell.area for cell in self.cells.values() if cell.seconds]
        return (max(areas) - min(areas)) / max(1, min(areas)) if areas else 0.0


def measure(row: Row, systems: Mapping[str, Asked], turns: int, seed: int, say: Say) -> Measured:
    """Measure a row: all systems in turn, each time in another order.

    In a first turn they warm up, in a second their memory is counted, the others are timed. A row
    that is timed once takes minutes: its memory is counted in that turn.
    """
    measured = Measured(row, {name: Cell() for name in systems})
    names = list(systems)
    first = (_WARM,) if row.most_turns == 1 else (_WARM, _COUNTED)
    for turn in (*first, *range(min(turns * row.often, row.most_turns))):
        shift = turn % len(names)
        for name in (*names[shift:], *names[:shift]):
            cell = measured.cells[name]
            if cell.failure is None:
                _take_turn(row, systems[name], cell, seed, turn)
                say(f"  {row.name} turn {turn} {name}: {_brief(cell, turn)}")
    return measured


def _take_turn(row: Row, system: Asked, cell: Cell, seed: int, turn: int) -> None:
    # An encoded image stays the same through all turns, a new one is another in each.
    number = turn - _WARM
    job = replace(
        row.job,
        seed=(seed, 0 if row.job.encoded else number),
        turn=number,
        counted=turn == _COUNTED or row.most_turns == 1,
    )
    if turn == _WARM and job.images > 1:
        job = replace(job, images=1)
    first: Answer | Facts | Failure | None = None
    if row.again:
        first = system.ask(job, row.timeout_s)
        if not isinstance(first, Answer):
            cell.failure = _why(first)
            return
        job = replace(job, encoded=True, turn=job.turn + 1000)
    answer = system.ask(job, row.timeout_s)
    if not isinstance(answer, Answer):
        cell.failure = _why(answer)
        return
    if job.counted and turn != _WARM:
        cell.added_bytes.append(float(answer.added_bytes))
    if turn >= 0:
        cell.area = cell.area or answer.area
        cell.seconds.append(answer.seconds)
        if isinstance(first, Answer):
            cell.new_seconds.append(first.seconds)


def _why(answer: Answer | Facts | Failure) -> str:
    return answer.why if isinstance(answer, Failure) else "no answer"


def _brief(cell: Cell, turn: int) -> str:
    if cell.failure:
        return f"failed: {cell.failure}"
    if turn == _COUNTED:
        return f"{cell.added_bytes[-1] / MIB:.0f} MiB"
    return "warm" if turn == _WARM else f"{cell.seconds[-1]:.3f} s"


def named(names: Sequence[str]) -> list[Row]:
    """Return the rows of these names, in the table's order."""
    return [row for row in ROWS if row.name in names]
