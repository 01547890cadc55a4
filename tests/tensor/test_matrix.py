"""The tests of `tests/matrix` that connect a block of the engine and ours, with native detections.

What is expected is what numpy's representation gives, so that a difference fails here.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.matrix.blocks import Cell, cells, engine_version
from tests.matrix.document import documented, is_of_installed_versions
from tests.matrix.outcomes import outcome_of
from tests.matrix.test_beside_others import (  # noqa: F401
    test_block_takes_ours_beside_others,
    test_combined_rows_are_those_of_both,
)
from tests.matrix.test_untyped_fields import (  # noqa: F401
    server,
    test_continue_if,
    test_csv_formatter,
    test_expression,
    test_property_definition,
    test_webhook_sink,
)
from tests.tensor.matrix import native_matrix

KNOWN = documented()
ALL = sorted(cells())


@pytest.fixture(scope="module", autouse=True)
def native() -> Iterator[None]:
    patch = native_matrix()
    yield
    patch.undo()


@pytest.mark.parametrize("cell", ALL, ids=[f"{cell.table}-{cell}" for cell in ALL])
def test_cell(cell: Cell) -> None:
    outcome = outcome_of(cell)
    if outcome.missing:
        pytest.skip(outcome.missing)
    if outcome.problems and not (cell in KNOWN and is_of_installed_versions()):
        pytest.skip(f"not known of {engine_version()}: {outcome.problems[0]}")
    assert not outcome.problems
