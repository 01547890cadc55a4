"""Tables of the detections among the outputs of a workflow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import supervision as sv

from sam2_block.cli.console import table
from sam2_block.rows.columns import SAM2_SCORE
from sam2_block.rows.detections import class_names

MAX_ROWS = 40


def detection_tables(outputs: dict[str, Any], max_rows: int = MAX_ROWS) -> list[str]:
    """Return the lines of one table for each output that is, or holds, detections.

    Args:
        outputs: Values of the workflow's outputs, by name.
        max_rows: Maximum rows of one table; a further line counts the others.
    """
    lines: list[str] = []
    for name, detections in _find_detections(outputs, ""):
        count = len(detections)
        lines.append(f"{name}: {count} detection{'' if count == 1 else 's'}")
        if count:
            lines += [f"  {line}" for line in _rows(detections[:max_rows])]
        if count > max_rows:
            lines.append(f"  ... and {count - max_rows} more")
    return lines


def count_masks(outputs: dict[str, Any]) -> int:
    """Return the number of masks in the output that has the largest number of them."""
    counts = [
        len(detections)
        for _, detections in _find_detections(outputs, "")
        if detections.mask is not None
    ]
    return max(counts, default=0)


def empty_outputs(definition: dict[str, Any], outputs: dict[str, Any]) -> list[str]:
    """Return a sentence for each output of a `segment` step without rows: which step found nothing.

    Args:
        definition: The workflow.
        outputs: Values of its outputs, by name.
    """
    steps = {str(step.get("name")): step for step in definition.get("steps", [])}
    remarks = []
    for output in definition.get("outputs", []):
        value = outputs.get(output.get("name"))
        step = steps.get(_step_name(output.get("selector")), {})
        if not isinstance(value, sv.Detections) or len(value):
            continue
        source = steps.get(_step_name(step.get("boxes")))
        if source is None or not str(step.get("type")).startswith("sam2_block/segment@"):
            continue
        filters = [name for name in ("class_filter", "threshold") if step.get(name)]
        filtered = f", or {' or '.join(filters)} left nothing of it" if filters else ""
        remarks.append(
            f"{output['name']}: no rows, as step {source['name']!r} ({source['type']}) found"
            f" nothing{filtered}"
        )
    return remarks


def _step_name(selector: Any) -> str:
    """Return the name of the step that `$steps.NAME.output` selects; empty for anything else."""
    parts = str(selector).split(".")
    return parts[1] if parts[0] == "$steps" and len(parts) > 1 else ""


def _find_detections(value: Any, name: str) -> Iterator[tuple[str, sv.Detections]]:
    if isinstance(value, sv.Detections):
        yield name, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _find_detections(item, f"{name}.{key}" if name else str(key))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _find_detections(item, f"{name}[{index}]")


def _rows(detections: sv.Detections) -> list[str]:
    count = len(detections)
    columns: list[tuple[str, list[str]]] = [
        ("#", [str(index) for index in range(count)]),
        ("class", [str(name) for name in class_names(detections)]),
    ]
    if detections.tracker_id is not None:
        columns.append(("track", [str(track) for track in detections.tracker_id]))
    if detections.confidence is not None:
        columns.append(("confidence", _decimals(detections.confidence)))
    if SAM2_SCORE in detections.data:
        columns.append((SAM2_SCORE, _decimals(detections.data[SAM2_SCORE])))
    for side, edges in zip(("left", "top", "right", "bottom"), detections.xyxy.T, strict=True):
        columns.append((side, [f"{edge:.0f}" for edge in edges]))
    if detections.mask is not None:
        columns.append(("mask px", [str(int(pixels)) for pixels in detections.area]))
    header, cells = zip(*columns, strict=True)
    return table(header, list(zip(*cells, strict=True)), right="rl".ljust(len(columns), "r"))


def _decimals(values: Any) -> list[str]:
    return ["-" if np.isnan(value) else f"{value:.3f}" for value in values.astype(float)]
