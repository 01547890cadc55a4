"""Find what is said of a cell by hand: of its output, or else of its block; nothing of most."""

from __future__ import annotations

from tests.matrix.blocks import Cell
from tests.matrix.entries import Entry
from tests.matrix.table import TABLE
from tests.matrix.table_of_outputs import OUTPUTS


def entry_of(cell: Cell) -> Entry:
    """Return what is said of a cell by hand; nothing of most."""
    block = cell.block.removeprefix("roboflow_core/")
    of_output = OUTPUTS.get((block, cell.port)) if cell.table == "boxes" else None
    return of_output or TABLE.get(block) or Entry()
