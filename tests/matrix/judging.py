"""Look at what a cell gave: rows, masks, columns, images; and say what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import supervision as sv
from pycocotools import mask as coco_mask
from roboflow_workflows.execution_engine.entities.base import WorkflowImageData

from sam2_block.rows.columns import outdated_columns
from tests.matrix.entries import Entry
from tests.matrix.running import Results
from tests.matrix.scenes import MANY, SOURCE_ROW, Picture


@dataclass
class Verdict:
    """What was seen of one scene.

    Attributes:
        problems: What is wrong; nothing where the cell passes.
        rows: What came out, for people: `6 → 6`.
        masks: What became of the masks, by output.
        notes: What is lost besides masks.
    """

    problems: list[str] = field(default_factory=list)
    rows: list[str] = field(default_factory=list)
    masks: dict[str, set[str]] = field(default_factory=dict)
    notes: set[str] = field(default_factory=set)


def judge_downstream(results: Results, pictures: tuple[Picture, ...], entry: Entry) -> Verdict:
    """Judge a block behind ours."""
    verdict = Verdict()
    for result, picture in zip(results, pictures, strict=True):
        looked_at = 0
        seen = []
        ours = _flat(result["sam"].get("predictions"))
        for detections in ours:
            verdict.problems += _problems_of_ours(detections, picture, entry)
        rows_in = sum(map(len, ours))
        for output, value in result["block"].items():
            summary = _judge_output(output, value, ours, picture, entry, verdict)
            looked_at += summary is not None
            seen += [summary] if summary else []
        if rows_in == 0 and all(value is None for value in result["block"].values()):
            looked_at, seen = 1, ["nothing"]
        if not looked_at:
            verdict.problems.append(
                f"nothing of the result is looked at: {result['block']!r:.200}; say in"
                " the tables of tests/matrix what to expect (`rows` or `gives`)"
            )
        if pictures == (MANY,):
            missing = entry.gives.keys() - result["block"].keys()
            verdict.problems += [f"no output {output}" for output in sorted(missing)]
        verdict.rows.append(f"{rows_in} → {', '.join(seen)}" if seen else "runs")
    return verdict


def _problems_of_ours(ours: sv.Detections, picture: Picture, entry: Entry) -> Iterator[str]:
    """The cell means nothing unless our own masks are those of the picture."""
    if entry.segment:
        return
    if not np.array_equal(np.asarray(ours.mask), picture.masks):
        yield "our own masks are not those of the picture"
    if ours.tracker_id is None and len(ours):
        yield "our own rows have no tracker_id"


def _judge_output(
    output: str,
    value: Any,
    ours: list[sv.Detections],
    picture: Picture,
    entry: Entry,
    verdict: Verdict,
) -> str | None:
    """Judge one output; return a summary of it, None where nothing was looked at."""
    if output in entry.gives:
        wanted = entry.gives[output]
        if picture is MANY and not _fits(value, wanted):
            verdict.problems.append(f"{output}: not the value expected: {value!r:.300}")
        if not isinstance(value, sv.Detections):
            return ""
        if SOURCE_ROW in value.data:
            states = set(_mask_states(value, [], picture))
            verdict.masks.setdefault(output, set()).update(states)
        return str(len(value))
    if isinstance(value, sv.Detections):
        _judge_rows(output, value, ours[0] if ours else value, picture, entry, verdict)
        return str(len(value))
    if isinstance(value, WorkflowImageData):
        if value.numpy_image.shape[:2] != picture.image.shape[:2]:
            verdict.problems.append(f"{output}: image of shape {value.numpy_image.shape}")
        elif picture.names and np.array_equal(value.numpy_image, picture.image):
            verdict.problems.append(f"{output}: the image is unchanged")
        return "image"
    if output in entry.rows:
        expected = len(_expected(entry.rows[output], picture))
        found = sum(one is not None for one in value or [])
        if found != expected:
            verdict.problems.append(f"{output}: {found} elements, expected {expected}")
        return f"{found}"
    return None


def _fits(value: Any, expected: Any) -> bool:
    return bool(expected(value)) if callable(expected) else bool(value == expected)


def _expected(rows: Any, picture: Picture) -> list[str]:
    names = list(picture.names)
    if isinstance(rows, tuple):
        return [name for name in names if name in rows]
    return {
        "all": names,
        "none": [],
        "one": names[:1],
        "twice": names * 2,
    }[rows]


def _judge_rows(
    output: str,
    after: sv.Detections,
    before: sv.Detections,
    picture: Picture,
    entry: Entry,
    verdict: Verdict,
) -> None:
    rule = entry.rows.get(output, "all")
    expected = _expected(rule, picture)
    if len(after) != len(expected):
        verdict.problems.append(f"{output}: {len(after)} rows, expected {len(expected)}")
        return
    kept = after.data.get(SOURCE_ROW)
    if kept is not None and len(after) and rule != "one":
        order = [picture.names.index(name) for name in expected]
        if [int(row) for row in kept] != order and sorted(map(int, kept)) != sorted(order):
            verdict.problems.append(f"{output}: rows {list(kept)}, expected {order}")
            return
        if [int(row) for row in kept] != order:
            verdict.notes.add("rows in another order")
    found = set(_mask_states(after, expected, picture))
    verdict.masks.setdefault(output, set()).update(found)
    allowed = entry.masks.get(output, "same")
    if found - {"same", allowed}:
        verdict.problems.append(f"{output}: masks {sorted(found)}, expected {allowed}")
    lost = before.data.keys() - after.data.keys() if len(after) else set()
    if lost:
        verdict.notes.add(f"loses columns: {', '.join(sorted(lost))}")
    if len(after) and after.tracker_id is None:
        verdict.notes.add("loses tracker_id")
    if _has_outdated_rle(after):
        verdict.notes.add("leaves the old `rle_mask` beside new masks")


def _mask_states(after: sv.Detections, expected: list[str], picture: Picture) -> Iterator[str]:
    if len(after) and after.mask is None:
        yield "lost"
        return
    kept = after.data.get(SOURCE_ROW)
    for index in range(len(after)):
        row = picture.names.index(expected[index]) if kept is None else int(kept[index])
        mask = np.asarray(after.mask[index])
        yield "same" if np.array_equal(mask, picture.masks[row]) else "altered"


def _has_outdated_rle(detections: sv.Detections) -> bool:
    if "rle_mask" not in detections.data or detections.mask is None:
        return False
    pairs = zip(detections.data["rle_mask"], detections.mask, strict=True)
    return any(
        not np.array_equal(coco_mask.decode(rle).astype(bool), np.asarray(mask))
        for rle, mask in pairs
    )


def judge_upstream(
    results: Results, pictures: tuple[Picture, ...], entry: Entry, output: str
) -> Verdict:
    """Judge a block in front of ours: as many rows out as in, each with what it had."""
    verdict = Verdict()
    output = entry.output or output
    for result, picture in zip(results, pictures, strict=True):
        boxes = _flat(result["block"].get(output))
        masks = _flat(result["sam"].get("predictions"))
        if len(boxes) != len(masks):
            verdict.problems.append(f"{len(masks)} results for {len(boxes)} images")
        rows_in = sum(map(len, boxes))
        expected = len(_expected(entry.rows.get(output, "all"), picture))
        if output in entry.gives:
            if picture is MANY and not _fits(boxes[0], entry.gives[output]):
                verdict.problems.append(f"{output}: {rows_in} rows, not those expected")
        elif rows_in != expected:
            verdict.problems.append(f"{output}: {rows_in} rows, expected {expected}")
        for before, after in zip(boxes, masks, strict=False):
            verdict.problems += _problems_of_prompts(before, after)
        rows_out = sum(map(len, masks))
        not_empty = sum(bool(mask.any()) for after in masks for mask in after.mask)
        verdict.rows.append(f"{rows_in} → {rows_out}")
        verdict.masks.setdefault("masks", set()).add("some" if not_empty else "none")
        if rows_out and picture.names and not not_empty:
            verdict.problems.append("every mask is empty: the boxes are not where the objects are")
    return verdict


# Columns that belong to the new rows, or to the masks that the boxes came with.
_REPLACED = {"detection_id", "prediction_type", "image_dimensions"}


def _problems_of_prompts(before: sv.Detections, after: sv.Detections) -> Iterator[str]:
    if len(after) != len(before):
        yield f"{len(after)} rows for {len(before)} boxes"
        return
    if len(before) == 0:
        return
    ids = before.data.get("detection_id")
    if ids is not None and list(after.data["prompt_detection_id"]) != list(map(str, ids)):
        yield "rows are not in the order of the boxes"
    replaced = _REPLACED | outdated_columns(before.data)
    for name, column in before.data.items():
        if name in replaced or "parent" in name or name == "prompt_detection_id":
            continue
        if name == "sam2_score":
            continue
        if name not in after.data:
            yield f"column {name} is lost"
        elif repr(np.asarray(after.data[name]).tolist()) != repr(np.asarray(column).tolist()):
            yield f"column {name} has changed"
    # In tensor mode the RLE is the mask itself.
    outdated = (outdated_columns(before.data) & set(after.data)) - {"rle_mask"}
    if outdated:
        yield f"columns of the old mask beside the new one: {sorted(outdated)}"
    for name in ("class_id", "tracker_id"):
        old, new = getattr(before, name), getattr(after, name)
        if not np.array_equal(old, new) and old is not None:
            yield f"{name} has changed"


def _flat(value: Any) -> list[Any]:
    """Return the elements of nested lists, without those that the engine left out."""
    if isinstance(value, list):
        return [found for element in value for found in _flat(element)]
    return [] if value is None else [value]
