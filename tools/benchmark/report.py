"""The run as Markdown."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from benchmark.callers import Load
from benchmark.figures import Ratio, Spread
from benchmark.jobs import BUILT_IN, META, OURS
from benchmark.memory import GIB, MIB
from benchmark.servers import Fleet
from benchmark.table import Cell, Measured

_HEADS = {BUILT_IN: "built-in block", META: "Meta's predictor", OURS: "this block"}


def table(rows: Sequence[Measured], systems: Sequence[str]) -> str:
    """Return the table of ratios: times, added memory, what is to be reached."""
    shown = [name for name in (BUILT_IN, META, OURS) if name in systems]
    heads = ["work", *(_HEADS[name] for name in shown), "ratio (of pairs)", "memory", "to reach"]
    lines = [_line(heads), _line(["---", *("--:" for _ in heads[1:])])]
    for measured in rows:
        cells = [cell_text(measured.cells[name], measured) for name in shown]
        lines.append(
            _line(
                [
                    measured.row.title,
                    *cells,
                    _ratio_text(measured),
                    _memory_text(measured),
                    _verdict(measured),
                ]
            )
        )
    return "\n".join(lines)


def cell_text(cell: Cell, measured: Measured) -> str:
    """Return median, spread and added memory of a cell, or why there is none."""
    if cell.failure:
        return f"failed: {cell.failure}"
    text = (
        f"{spread_text(Spread.of(cell.seconds))}, {size_text(Spread.of(cell.added_bytes).median)}"
    )
    if measured.row.again:
        text += f" (new: {seconds_text(Spread.of(cell.new_seconds).median)})"
    return text


def _ratio_text(measured: Measured) -> str:
    if measured.row.again:
        ours = measured.cells[OURS]
        if ours.failure:
            return "-"
        return _spread_of(Ratio.of(ours.new_seconds, ours.seconds)) + " new : again"
    ratio = measured.ratio()
    return _spread_of(ratio) if ratio else "-"


def _spread_of(ratio: Ratio) -> str:
    return f"**{ratio.medians:.1f}x** ({ratio.least:.1f} to {ratio.most:.1f})"


def _memory_text(measured: Measured) -> str:
    ratio = measured.ratio(of="added_bytes")
    return f"{ratio.medians:.1f}x" if ratio else "-"


def _verdict(measured: Measured) -> str:
    row, parts = measured.row, []
    if row.reach:
        got = measured.reached()
        parts.append(_judged(f"{row.reach:g}x", None if got is None else got >= row.reach))
    if row.memory_share:
        memory = measured.ratio(of="added_bytes")
        reached = None if memory is None else memory.medians >= 1 / row.memory_share
        parts.append(_judged(f"memory 1/{1 / row.memory_share:g}", reached))
    if row.memory_bytes:
        ours = measured.cells.get(OURS)
        known = ours is not None and not ours.failure
        reached = Spread.of(ours.added_bytes).median < row.memory_bytes if ours and known else None
        parts.append(_judged(f"under {row.memory_bytes / GIB:g} GiB", reached))
    return ", ".join(parts) or "-"


def _judged(aim: str, reached: bool | None) -> str:
    words = {True: "reached", False: "**missed**", None: "not comparable"}
    return f"{aim}: {words[reached]}"


def roofline(figures: dict[str, Any]) -> str:
    """Return the part on encoder and decoder against the machine's matrix products."""
    rates = figures["flops_per_s"]
    heads = ["part", "operations", "floor", "measured", "times the floor", "to reach"]
    lines = [
        f"Fastest matrix product: {rates['fp32'] / 1e9:.0f} GFLOP/s in fp32,"
        f" {rates['bf16'] / 1e9:.0f} in bf16.",
        "",
        _line(heads),
        _line(["---", *("--:" for _ in heads[1:])]),
    ]
    for name, title, aim in (("encoder", "encoder, an image", 2), ("decoder", "decoder, a box", 3)):
        part = figures[name]
        lines.append(
            _line(
                [
                    title,
                    f"{part['flops'] / 1e9:.1f} GFLOP in {part['precision']}",
                    seconds_text(part["floor_s"]),
                    seconds_text(part["seconds"]),
                    f"{part['times_floor']:.1f}x",
                    _judged(f"{aim}x", part["times_floor"] <= aim),
                ]
            )
        )
    return "\n".join(lines)


def callers(loads: Sequence[Load], systems: Sequence[str]) -> str:
    """Return the part on several callers at once."""
    shown = [name for name in (BUILT_IN, META, OURS) if name in systems]
    heads = ["requests a second", "callers", *(_HEADS[name] for name in shown)]
    lines = [_line(heads), _line(["---", *("--:" for _ in heads[1:])])]
    for load in loads:
        cells = [load.texts.get(name, "-") for name in shown]
        lines.append(_line([load.title, str(load.callers), *cells]))
    return "\n".join(lines)


def servers(fleets: Sequence[Fleet]) -> str:
    """Return the part on several processes at once."""
    counts = sorted(fleets[0].rates)
    heads = ["new 1800x1200 images a second, 1 box", "threads wait"]
    heads += ["1 process" if count == 1 else f"{count} processes" for count in counts]
    lines = [_line(heads), _line(["---", "---", *("--:" for _ in counts)])]
    for fleet in fleets:
        cells = [fleet.text(count) for count in counts]
        lines.append(_line([_HEADS[fleet.system], fleet.waiting, *cells]))
    return "\n".join(lines)


def machine(facts: dict[str, Any], command: str) -> str:
    """Return hardware, versions and the command, wrapped."""
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    text = (
        f"{facts['date']}, commit {facts['commit']}. {facts['cpu']}, {facts['cores']} cores"
        f" ({', '.join(facts['flags'])}), {facts['memory_gib']} GiB, {facts['system']};"
        f" Python {facts['python']}, {versions}; PyTorch on {facts['threads']} threads (its"
        f" default), this block with `SAM2_BLOCK_PRECISION={facts['precision']}`"
        f" ({facts['computes_in']}), no GPU."
    )
    lines = textwrap.wrap(text, 100, break_on_hyphens=False)
    return "\n".join([*lines, "", "```bash", command, "```"])


def spread_text(spread: Spread) -> str:
    """Return a median of seconds with its spread."""
    if spread.least == spread.most:
        return seconds_text(spread.median)
    return f"{seconds_text(spread.median)} ({number(spread.least)} to {number(spread.most)})"


def seconds_text(seconds: float) -> str:
    """Return seconds with as many digits as say something."""
    return f"{number(seconds)} s"


def number(value: float) -> str:
    """Return three digits, without an exponent."""
    return f"{value:.0f}" if value >= 100 else f"{float(f'{value:.3g}'):g}"


def size_text(size: float) -> str:
    """Return bytes as MiB or GiB."""
    return f"{size / GIB:.1f} GiB" if size >= GIB else f"{size / MIB:.0f} MiB"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
