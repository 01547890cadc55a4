"""Blocks that take several sets of masks, with native detections of ours and of others."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.matrix.test_beside_others import (  # noqa: F401
    test_block_takes_ours_beside_others,
    test_combined_rows_are_those_of_both,
)
from tests.tensor.matrix import native_matrix


@pytest.fixture(scope="module", autouse=True)
def native() -> Iterator[None]:
    patch = native_matrix()
    yield
    patch.undo()
