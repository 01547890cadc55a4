"""Find what is said of a cell by hand: of its port, or else of its block; nothing of most."""

from __future__ import annotations

from tests.matrix.blocks import Cell
from tests.matrix.entries import Entry
from tests.matrix.table import TABLE
from tests.matrix.table_of_fields import FIELDS
from tests.matrix.table_of_outputs import OUTPUTS


def entry_of(cell: Cell) -> Entry:
    """Return what is said of a cell by hand; nothing of most."""
    block = cell.block.removeprefix("roboflow_core/")
    ports = OUTPUTS if cell.table == "boxes" else FIELDS
    return ports.get((block, cell.port)) or TABLE.get(block) or Entry()
