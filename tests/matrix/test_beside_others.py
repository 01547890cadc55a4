"""Blocks that take several sets of masks: ours in one field, and others' in the other fields."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import supervision as sv

from tests.matrix import outcomes
from tests.matrix.blocks import MASK_KINDS, Cell, cells, core_blocks, kinds_of_field, selectors
from tests.matrix.definitions import definition
from tests.matrix.lookup import entry_of
from tests.matrix.others import OTHERS
from tests.matrix.scenes import PLAIN, SCENES
from tests.matrix.values import MASKS

SCENES_BESIDE_OTHERS = {**SCENES, "plain": (PLAIN,)}


def _mask_fields(block: str) -> dict[str, bool]:
    """Return the fields that take masks, and whether they take a list of them."""
    return {
        field: selector.is_list_element
        for field, selector in selectors(core_blocks()[block]).items()
        if kinds_of_field(selector) & MASK_KINDS
    }


def cells_beside_others() -> list[Cell]:
    return [
        cell
        for cell in sorted(cells())
        if cell.table == "predictions"
        and cell.block in core_blocks()
        and (len(fields := _mask_fields(cell.block)) > 1 or fields[cell.port])
    ]


ALL = cells_beside_others()


def workflow_beside(cell: Cell, other: str) -> dict[str, Any]:
    """Return the cell's workflow with rows of others in all fields of masks but its own."""
    fields = _mask_fields(cell.block)
    given: dict[str, Any] = {
        field: [f"$inputs.{other}"] if is_list else f"$inputs.{other}"
        for field, is_list in fields.items()
        if field != cell.port
    }
    given[cell.port] = [MASKS, f"$inputs.{other}"] if fields[cell.port] else MASKS
    entry = entry_of(cell)
    return definition(cell, replace(entry, fields={**entry.fields, **given}))


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("cell", ALL, ids=str)
def test_block_takes_ours_beside_others(cell: Cell, other: str) -> None:
    workflow = workflow_beside(cell, other)
    for name, pictures in SCENES_BESIDE_OTHERS.items():
        if {name, "*"} & entry_of(cell).fails.keys():
            continue
        for serialize in (False, True):
            results = outcomes.run(workflow, pictures, serialize=serialize)
            assert len(results) == len(pictures)
    assert results


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("port", ["prediction_one", "prediction_two"])
def test_combined_rows_are_those_of_both(port: str, other: str) -> None:
    cell = Cell("predictions", "roboflow_core/detections_combine@v1", port)
    (result,) = outcomes.run(workflow_beside(cell, other), SCENES["single"])
    ours, combined = result["sam"]["predictions"], result["block"]["predictions"]
    (picture,) = SCENES["single"]
    rows = OTHERS[other](picture)
    first, second = (ours, rows) if port == "prediction_one" else (rows, ours)
    assert isinstance(combined, sv.Detections)
    np.testing.assert_array_equal(combined.xyxy, [*first.xyxy, *second.xyxy])
    np.testing.assert_array_equal(
        np.asarray(combined.mask), [*np.asarray(first.mask), *np.asarray(second.mask)]
    )
    assert list(combined.data["class_name"]) == list(picture.names) * 2
    # Ours are tracked. In tensor mode the others have no entry, which is read as None or as -1.
    tracks = np.concatenate([_tracks(first), _tracks(second)])
    found = combined.tracker_id
    assert found is None or [*map(int, found)] == tracks.tolist()


def _tracks(rows: sv.Detections) -> np.ndarray:
    return np.full(len(rows), -1) if rows.tracker_id is None else rows.tracker_id


def test_blocks_are_found() -> None:
    found = {cell.block.removeprefix("roboflow_core/") for cell in ALL}
    assert {"detections_combine@v1", "detections_consensus@v1", "overlap_analysis@v1"} <= found
