"""Nothing is left over in the tables of what is said of blocks by hand.

A reason that no longer holds is found by the cells: an error that is announced has to come.
"""

from __future__ import annotations

import pytest

from tests.matrix.blocks import Cell, blocks, cells
from tests.matrix.definitions import definition
from tests.matrix.document import is_of_installed_versions
from tests.matrix.entries import Entry
from tests.matrix.lookup import entry_of
from tests.matrix.outcomes import outcome_of
from tests.matrix.table import TABLE
from tests.matrix.table_of_outputs import OUTPUTS

of_the_documented_engine = pytest.mark.skipif(
    not is_of_installed_versions(), reason="the tables are for the engine of composition.md"
)


def full(name: str) -> str:
    return name if "/" in name else f"roboflow_core/{name}"


@of_the_documented_engine
def test_entries_name_blocks_and_ports_that_are_there() -> None:
    found = cells()
    assert {full(name) for name in TABLE} <= {cell.block for cell in found}
    outputs = {(cell.block, cell.port) for cell in found if cell.table == "boxes"}
    assert {(full(name), port) for name, port in OUTPUTS} <= outputs


@of_the_documented_engine
def test_entries_name_outputs_that_are_there() -> None:
    for cell in cells():
        entry = entry_of(cell)
        known = {output.name for output in blocks()[cell.block].outputs_manifest}
        named = {*entry.rows, *entry.masks, *entry.gives} - {entry.output, "(sent)", "image"}
        assert named <= known, cell


@of_the_documented_engine
@pytest.mark.parametrize("name", [name for name, entry in TABLE.items() if entry.reason])
def test_reasons_are_backed_by_what_the_block_declares(name: str) -> None:
    cell = next(cell for cell in cells() if cell.block == full(name))
    steps = definition(cell, entry_of(cell))["steps"]
    (step,) = (step for step in steps if step["name"] == "block")
    operations = blocks()[full(name)].manifest_class.model_validate(step).discover_work_operations()
    assert "external_request" in {operation.value for operation in operations}


def cell_of(table: str, block: str, port: str) -> Cell:
    return Cell(table, f"roboflow_core/{block}", port)


FILTER = cell_of("predictions", "detections_filter@v1", "predictions")


@pytest.mark.parametrize(
    ("cell", "entry", "problem"),
    [
        # A reason that is stale: the block passes.
        (
            cell_of("predictions", "mask_area_measurement@v1", "predictions"),
            Entry(fails={"single": "some error"}),
            "single: passes, though",
        ),
        # The error is another one than the one announced.
        (
            cell_of("predictions", "bounding_rect@v1", "predictions"),
            Entry(fails={"single": "some error", "batch": "some error"}),
            "single: StepExecutionError: max() ",
        ),
        # Rows that are not those expected.
        (FILTER, Entry(fields=TABLE["detections_filter@v1"].fields), "3 rows, expected 6"),
        # Masks that are altered without leave.
        (
            cell_of("predictions", "mask_edge_snap@v1", "segmentation"),
            Entry(rows={"edges": "one"}),
            "masks ['altered', 'same'], expected same",
        ),
        # Masks that are lost without leave.
        (
            cell_of("predictions", "detections_merge@v1", "predictions"),
            Entry(rows={"predictions": "one"}),
            "masks ['lost'], expected same",
        ),
        # Nothing is looked at.
        (
            cell_of("predictions", "line_counter@v1", "detections"),
            Entry(fields=TABLE["line_counter@v1"].fields),
            "nothing of the result is looked at",
        ),
        # A value is another one.
        (
            cell_of("predictions", "line_counter@v1", "detections"),
            Entry(fields=TABLE["line_counter@v1"].fields, gives={"count_in": 7, "count_out": 0}),
            "count_in: not the value expected: 0",
        ),
        # A field that generic values do not fit.
        (
            cell_of("predictions", "detections_list_rollup@v1", "parent_detection"),
            Entry(),
            "no generic value is valid for `child_detections`",
        ),
        # It does not compile.
        (
            cell_of("predictions", "detections_stitch@v1", "predictions"),
            Entry(),
            "does not compile",
        ),
        # In front of ours: fewer rows than expected.
        (
            cell_of("boxes", "detections_filter@v1", "predictions"),
            Entry(fields=TABLE["detections_filter@v1"].fields),
            "3 rows, expected 6",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_is_said(
    cell: Cell, entry: Entry, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.matrix.outcomes.entry_of", lambda cell: entry)
    outcome = outcome_of.__wrapped__(cell)
    said = outcome.problems + outcome.stale
    assert any(problem in found for found in said), said
    assert all("tests/matrix" in found for found in said)
