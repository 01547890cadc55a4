"""`composition.md`: what is known of every cell, for people."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path

from tests.matrix.blocks import Cell, cells
from tests.matrix.engine_cases import CASES, compact_in
from tests.matrix.outcomes import Outcome, outcome_of

FILE = Path(__file__).with_name("composition.md")
PACKAGES = ("roboflow-workflows", "supervision")

_INTRODUCTION = """\
# Composition with the engine's own blocks: the full table

Every block of the engine with a field for the masks of `sam2_block/segment@v1`, and every block
whose output fits its field `boxes`, compiled and run on the real engine with a backend without a
model. The blocks are found by the engine's introspection; the tests beside this file run the cells
one by one, and `scripts/composition` writes it from them.
It holds for {versions}.
[`docs/composition.md`](../../docs/composition.md) has the blocks that people chain, a word each;
fields that take anything, and our scores, have a sample: `test_untyped_fields.py`.

- **single**: one image with six objects: a disc, a mask in two parts, one with a hole, one of a
  single pixel (in that hole), an empty one, and a bar, all tracked. `6 → 5` says that six rows went
  in and five came out; more numbers are more outputs.
- **empty**: an image without detections. **batch**: two images of different size.
- `raises`: the step raises an error; the note says which and why.

With native detections in the engine's tensor representation every cell is run again, by
`tests/tensor/test_matrix.py`, and held to the same expectations.

{summary}
"""
_SECTIONS = {
    "predictions": (
        "Blocks behind: our masks go in",
        """\
`same`, `altered`, `lost`: what becomes of the masks of the rows that come out. `read`, `not read`:
whether the result depends on the masks at all, where no detections come out. JSON: the rows of the
block's own answer as the engine serialises it, and what their masks are there. `CompactMask`:
whether the results are the same where the masks are held as
`sam2_block`'s `sv.CompactMask` in place of a dense array, as those of many objects on a large image
are.""",
    ),
    "boxes": (
        "Blocks in front: their boxes go in",
        """\
`5 → 5`: five rows of the block give five of ours, in order, with the block's ids in
`prompt_detection_id` and with its columns, classes and tracks. Where the block takes masks, a step
of ours stands in front of it.""",
    ),
}
_WITH_MASKS = ("masks", "JSON", "`CompactMask`")


def versions() -> str:
    """Return what decides what the blocks are and do."""
    return " and ".join(f"{name} {metadata.version(name)}" for name in PACKAGES)


def render() -> str:
    """Run all cells and return the document."""
    outcomes = {cell: outcome_of(cell) for cell in cells()}
    parts = [_INTRODUCTION.format(versions=versions(), summary=_summary(outcomes))]
    for table, (title, words) in _SECTIONS.items():
        parts += [f"## {title}\n", f"{words}\n"]
        of_table = {cell: outcome for cell, outcome in outcomes.items() if cell.table == table}
        parts += _tables(table, of_table)
        if table == "predictions":
            parts.append(_engine_table())
    return "\n".join(parts)


def _summary(outcomes: dict[Cell, Outcome]) -> str:
    lines = [
        "| | cells | run | of these, raise on `single` | compiled only |",
        "|---|--:|--:|--:|--:|",
    ]
    for table, (title, _) in _SECTIONS.items():
        found = [outcome for cell, outcome in outcomes.items() if cell.table == table]
        ran = [outcome for outcome in found if outcome.scenes]
        raised = [outcome for outcome in ran if outcome.scenes.get("single") == "raises"]
        lines.append(
            f"| {title} | {len(found)} | {len(ran)} | {len(raised)} | {len(found) - len(ran)} |"
        )
    return "\n".join(lines)


def _tables(table: str, outcomes: dict[Cell, Outcome]) -> Iterable[str]:
    port = "output" if table == "boxes" else "field"
    ran = {cell: outcome for cell, outcome in outcomes.items() if outcome.scenes}
    rest = {cell: outcome for cell, outcome in outcomes.items() if not outcome.scenes}
    heads = ["block", port, "single", "empty", "batch"]
    heads += _WITH_MASKS if table == "predictions" else ()
    yield _table([*heads, "note"], ran, lambda outcome: _row(outcome, table))
    yield "Not run. What needs something is compiled with the connection all the same.\n"
    yield _table(["block", port, "why"], rest, lambda outcome: [_why(outcome)])


def _row(outcome: Outcome, table: str) -> list[str]:
    cells_ = [outcome.scenes.get(scene, "") for scene in ("single", "empty", "batch")]
    if table == "predictions":
        cells_ += [outcome.masks, outcome.json, outcome.compact]
    notes = [outcome.reason] if outcome.reason else []
    notes += [f"`plain`: {outcome.scenes['plain']}"] if _works_on_plain(outcome) else []
    return [*cells_, " ".join(_sentence(note) for note in [*notes, *outcome.notes])]


def _works_on_plain(outcome: Outcome) -> bool:
    return outcome.scenes.get("plain", "raises") != "raises"


def _why(outcome: Outcome) -> str:
    return outcome.reason or outcome.missing or f"FAILS: {outcome.problems[0]}"


def _sentence(text: str) -> str:
    text = text[0].upper() + text[1:]
    return text if text.endswith(".") else f"{text}."


def _table(
    heads: list[str], outcomes: dict[Cell, Outcome], row: Callable[[Outcome], list[str]]
) -> str:
    lines = [" | ".join(heads), " | ".join(["---"] * len(heads))]
    for cell, outcome in outcomes.items():
        name = cell.block.removeprefix("roboflow_core/")
        lines.append(" | ".join([f"`{name}`", f"`{cell.port}`", *map(_escaped, row(outcome))]))
    return "\n".join(f"| {line} |" for line in lines) + "\n"


def _engine_table() -> str:
    lines = ["| the engine itself | `CompactMask` |", "|---|---|"]
    lines += [f"| {name} | {_escaped(compact_in(name))} |" for name in CASES]
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


def documented() -> set[Cell]:
    """Return the cells that the file names."""
    if not FILE.exists():
        return set()
    tables = {title: table for table, (title, _) in _SECTIONS.items()}
    found, table = set(), ""
    for line in FILE.read_text().splitlines():
        if line.startswith("## "):
            table = tables.get(line.removeprefix("## "), "")
        elif match := re.match(r"\| `([^`]+)` \| `([^`]+)` \|", line):
            block, port = match.groups()
            found.add(Cell(table, block if "/" in block else f"roboflow_core/{block}", port))
    return found


def is_of_installed_versions() -> bool:
    """Return whether the file was written with the engine that is installed."""
    return FILE.exists() and versions() in FILE.read_text()
