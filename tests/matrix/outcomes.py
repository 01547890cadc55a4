"""From a cell to what is known of it: find out whether it runs, run it, and have it judged."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field
from typing import Any

from tests.matrix.blocks import Cell, blocks, declared_need
from tests.matrix.definitions import definition
from tests.matrix.entries import Entry
from tests.matrix.judging import Verdict, judge_downstream, judge_upstream
from tests.matrix.lookup import entry_of
from tests.matrix.probing import Probe, in_words
from tests.matrix.running import Results, compile_, run
from tests.matrix.scenes import SCENES, SCENES_OF_FAILING
from tests.matrix.values import NoValueError

WHERE = "say what is needed of it in the tables of tests/matrix"


@dataclass
class Outcome:
    """What is known of a cell.

    Attributes:
        problems: Why it fails; nothing where it does not.
        stale: What is said of it by hand and no longer holds.
        missing: What the installation lacks for it.
        reason: Why it was not run, in words for people.
        scenes: What came out of each scene.
        masks: What becomes of the masks.
        json: What remains of our rows in the engine's JSON.
        compact: Whether the block takes masks held as `CompactMask`.
        notes: What else to know.
    """

    problems: list[str] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    missing: str = ""
    reason: str = ""
    scenes: dict[str, str] = field(default_factory=dict)
    masks: str = ""
    json: str = ""
    compact: str = ""
    notes: list[str] = field(default_factory=list)


@functools.cache
def outcome_of(cell: Cell) -> Outcome:
    """Run a cell once in this process, and return what is known of it."""
    outcome = Outcome()
    try:
        _find_out(cell, entry_of(cell), outcome)
    except ImportError as error:
        outcome.missing = f"needs a package that is not installed: {error}"
    return outcome


def _find_out(cell: Cell, entry: Entry, outcome: Outcome) -> None:
    if entry.note:
        outcome.notes.append(entry.note)
    if cell.port == "*" and not entry.output:
        outcome.reason = "names its outputs in the workflow; not tried"
        return
    try:
        workflow = definition(cell, entry)
    except NoValueError as error:
        outcome.problems.append(f"{error}; {WHERE}")
        return
    (step,) = (step for step in workflow["steps"] if step["name"] == "block")
    need = entry.reason or ("" if entry.runs else declared_need(blocks()[cell.block], step))
    try:
        compile_(workflow)
    except Exception as error:
        outcome.problems.append(f"does not compile: {in_words(error)}; {WHERE}")
        return
    if need:
        outcome.reason = need
        return
    _run_scenes(cell, entry, workflow, outcome)


def _run_scenes(cell: Cell, entry: Entry, workflow: dict[str, Any], outcome: Outcome) -> None:
    scenes = {**SCENES, **(SCENES_OF_FAILING if entry.fails else {})}
    masks: dict[str, set[str]] = {}
    notes: set[str] = set()
    passed: list[str] = []
    for name, pictures in scenes.items():
        try:
            results = run(workflow, pictures, frames=entry.frames, moves=entry.moves)
        except Exception as error:
            _note_failure(entry, name, error, outcome)
            continue
        if name in entry.fails or "*" in entry.fails:
            outcome.stale.append(f"{name}: passes, though tests/matrix says that it fails")
        verdict = _judge(cell, entry, results, pictures)
        outcome.problems += [f"{name}: {problem}; {WHERE}" for problem in verdict.problems]
        outcome.scenes[name] = "; ".join(verdict.rows)
        for output, states in verdict.masks.items():
            masks.setdefault(output, set()).update(states)
        notes |= verdict.notes
        passed.append(name)
    outcome.notes += sorted(notes)
    if passed and cell.table == "predictions":
        probe = Probe(workflow, entry, {name: scenes[name] for name in passed})
        outcome.compact = probe.compact()
        outcome.masks = _states(masks) or probe.are_masks_read()
        outcome.json = probe.json()


def _states(masks: dict[str, set[str]]) -> str:
    """Say what becomes of the masks of the outputs."""
    states = {
        output: "same" if found == {"same"} else min(found - {"same"})
        for output, found in masks.items()
        if found
    }
    if len(set(states.values())) <= 1:
        return "".join(set(states.values()))
    return ", ".join(f"{output}: {state}" for output, state in states.items())


def _note_failure(entry: Entry, scene: str, error: Exception, outcome: Outcome) -> None:
    words = entry.fails.get(scene, entry.fails.get("*"))
    if words is not None and re.search(words, str(error)):
        outcome.scenes[scene] = "raises"
    elif isinstance(error, ImportError):
        raise error
    else:
        outcome.problems.append(f"{scene}: {in_words(error)}; {WHERE}")


def _judge(cell: Cell, entry: Entry, results: Results, pictures: Any) -> Verdict:
    if cell.table == "boxes":
        return judge_upstream(results, pictures, entry, cell.port)
    return judge_downstream(results, pictures, entry)
