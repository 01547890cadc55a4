"""Every connection by masks or boxes between a block of the engine and ours, one test each.

`composition.md` says what the results are. What a cell needs beyond its manifest is said in
`table.py` and `table_of_outputs.py`.
"""

from __future__ import annotations

import pytest

from tests.matrix.blocks import OURS, Cell, blocks, cells, engine_version
from tests.matrix.document import documented, is_of_installed_versions
from tests.matrix.outcomes import outcome_of

KNOWN = documented()
ALL = sorted({*cells(), *KNOWN})


@pytest.mark.parametrize("cell", ALL, ids=[f"{cell.table}-{cell}" for cell in ALL])
def test_cell(cell: Cell) -> None:
    if cell not in cells():
        pytest.skip(f"{engine_version()} has no such block or port here")
    outcome = outcome_of(cell)
    if outcome.missing:
        pytest.skip(outcome.missing)
    if outcome.problems and cell not in KNOWN:
        # A release of the engine with a new block is no fault of ours: it is not covered yet.
        pytest.skip(f"untested, new in {engine_version()}: {outcome.problems[0]}")
    assert not outcome.problems
    if outcome.stale and not is_of_installed_versions():
        # What is said is said of the engine of composition.md.
        pytest.skip(f"mended in {engine_version()}: {outcome.stale[0]}")
    assert not outcome.stale, "take that out of the tables of tests/matrix"


def test_blocks_are_found() -> None:
    """The tables of cells are not empty by mistake of the introspection."""
    tables = [cell.table for cell in cells()]
    assert tables.count("predictions") > 60
    assert tables.count("boxes") > 60
    assert Cell("predictions", "roboflow_core/mask_visualization@v1", "predictions") in cells()
    assert OURS in blocks()
