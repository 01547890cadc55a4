"""A record as Markdown: every section is a pure function of what the JSON file holds."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from benchmark.figures import Ratio, Spread, Tail
from benchmark.jobs import (
    BUILT_IN,
    DEFAULT,
    LABELS,
    META_BF16,
    META_FP32,
    METAS_AND_OURS,
    OURS_BF16,
    OURS_FP32,
    SYSTEMS,
)
from benchmark.markdown import line, rule, seconds_text, size_text, spread_text
from benchmark.memory import GIB
from benchmark.table import Cell, Measured

# The pairs of one precision come first: only these compare implementations.
PAIRS = {
    "fp32: built-in : ours": (BUILT_IN, OURS_FP32),
    "fp32: Meta's : ours": (META_FP32, OURS_FP32),
    "bf16: Meta's : ours": (META_BF16, OURS_BF16),
    "built-in in fp32 : ours in bf16": (BUILT_IN, OURS_BF16),
}

_HEAD = """\
SAM 2 hiera_tiny on a CPU: the same machine, weights and workflow, the systems in turns. How it is
measured: [`tools/benchmark`](../tools/benchmark/README.md). `benchmarks.json` beside this file has
every figure, and this file is made of it. The weights are set by hand, so that masks are smooth: no
figure here says anything about the quality of masks."""

_OF_RATIOS = """\
Ratios of medians, and in brackets the least and the most of the pairs of one turn. The first three
columns compare like with like."""

_OF_TIMES = """\
Seconds: the median of the turns, their least and most; and the memory that a turn of its own added,
by the operating system's count."""


def document(sections: Mapping[str, dict[str, Any]]) -> str:
    """Return the whole file; a section that was not measured is left out."""
    parts = ["# Benchmarks", _HEAD]
    for name, (title, render) in _SECTIONS.items():
        if name in sections:
            section = sections[name]
            parts += [f"## {title}", render(section["figures"]), run(section["run"])]
    return "\n\n".join(parts) + "\n"


def rows(figures: Mapping[str, Any]) -> str:
    """Return the tables of ratios, then of times and added memory, and what is doubtful."""
    measured = [Measured.of_record(name, record) for name, record in figures.items()]
    parts = [_OF_RATIOS, ratios(measured), _OF_TIMES, times(measured)]
    parts += [
        f"In `{one.row.title}` the masks of two systems differ by {one.disagreement():.1%} of their"
        " pixels."
        for one in measured
        if one.disagreement() > _TOLERANCE
    ]
    return "\n\n".join(parts)


_TOLERANCE = 0.1


def ratios(measured: Sequence[Measured]) -> str:
    """Return the table of ratios, with what is to be reached."""
    lines = [line(["work", *PAIRS, "to reach"]), rule(len(PAIRS) + 1)]
    for one in measured:
        cells = [_ratio_text(one.ratio(*pair)) for pair in PAIRS.values()]
        lines.append(line([one.row.title, *cells, _verdict(one)]))
    return "\n".join(lines)


def times(measured: Sequence[Measured]) -> str:
    """Return the table of times and added memory."""
    shown = [name for name in SYSTEMS if any(name in one.cells for one in measured)]
    lines = [line(["work", *(LABELS[name] for name in shown)]), rule(len(shown))]
    for one in measured:
        cells = [cell_text(one.cells[name], one) if name in one.cells else "-" for name in shown]
        lines.append(line([one.row.title, *cells]))
    return "\n".join(lines)


def cell_text(cell: Cell, measured: Measured) -> str:
    """Return median, spread and added memory of a cell, or why there is none."""
    if cell.failure:
        return f"failed: {cell.failure}"
    text = spread_text(Spread.of(cell.seconds))
    if cell.added_bytes:
        text += f", {size_text(Spread.of(cell.added_bytes).median)}"
    if measured.row.again:
        text += f" (new: {seconds_text(Spread.of(cell.new_seconds).median)})"
    return text


def speed(section: Mapping[str, Any]) -> str:
    """Return the account of docs/performance.md: what is compared where, and a table of medians."""
    facts = section["run"]
    caption = (
        f"On a CPU ({facts['cpu']}, {facts['cores']} cores), hiera_tiny with weights set by hand,"
        " medians of paired turns. The first two columns compare like with like: how many times"
        " longer Meta's own predictor takes than this block, in the same precision. The engine's"
        " built-in block computes in fp32, as this block does by default. [All"
        " figures](benchmarks.md), with spread, memory and the commands that make them."
    )
    return "\n\n".join(
        [textwrap.fill(caption, 104, break_on_hyphens=False), _short(section["figures"])]
    )


def _short(figures: Mapping[str, Any]) -> str:
    heads = [f"Meta's : ours, {name}" for name in METAS_AND_OURS] + [
        LABELS[name] for name in SYSTEMS
    ]
    lines = [line(["work", *heads]), rule(len(heads))]
    for name, record in figures.items():
        one = Measured.of_record(name, record)
        ratios_of_row = [one.ratio(*pair) for pair in METAS_AND_OURS.values()]
        cells = [f"**{ratio.medians:.1f}x**" if ratio else "-" for ratio in ratios_of_row]
        cells += [
            "fails" if cell.failure else seconds_text(Spread.of(cell.seconds).median)
            for cell in (one.cells[system] for system in SYSTEMS)
        ]
        lines.append(line([one.row.title, *cells]))
    return "\n".join(lines)


def _ratio_text(ratio: Ratio | None) -> str:
    if ratio is None:
        return "-"
    return f"**{ratio.medians:.1f}x** ({ratio.least:.1f} to {ratio.most:.1f})"


def _verdict(measured: Measured) -> str:
    row, parts = measured.row, []
    if row.reach:
        got = measured.reached()
        aim = f"{row.reach:g}x" + (f" new : again ({got:.1f}x)" if row.again and got else "")
        parts.append(_judged(aim, None if got is None else got >= row.reach))
    if row.memory_share:
        memory = measured.ratio(BUILT_IN, DEFAULT, of="added_bytes")
        reached = None if memory is None else memory.medians >= 1 / row.memory_share
        parts.append(_judged(f"memory 1/{1 / row.memory_share:g}", reached))
    if row.memory_bytes:
        ours = measured.cells.get(DEFAULT)
        known = ours is not None and not ours.failure
        reached = Spread.of(ours.added_bytes).median < row.memory_bytes if ours and known else None
        parts.append(_judged(f"under {row.memory_bytes / GIB:g} GiB", reached))
    return ", ".join(parts) or "-"


def _judged(aim: str, reached: bool | None) -> str:
    words = {True: "reached", False: "**missed**", None: "not comparable"}
    return f"{aim}: {words[reached]}"


def roofline(figures: Mapping[str, Any]) -> str:
    """Return the part on encoder and decoder against the machine's matrix products."""
    rates = figures["flops_per_s"]
    heads = ["part", "operations", "floor", "measured", "times the floor", "to reach"]
    lines = [
        f"Fastest matrix product: {rates['fp32'] / 1e9:.0f} GFLOP/s in fp32,"
        f" {rates['bf16'] / 1e9:.0f} in bf16.",
        "",
        line(heads),
        rule(len(heads) - 1),
    ]
    aims = (("encoder", "encoder, an image", 1.5), ("decoder", "decoder, a box", 1))
    for name, title, aim in aims:
        part = figures[name]
        lines.append(
            line(
                [
                    title,
                    f"{part['flops'] / 1e9:.1f} GFLOP in {part['precision']}",
                    seconds_text(part["floor_s"]),
                    seconds_text(part["seconds"]),
                    f"{part['times_floor']:.1f}x",
                    _judged(f"{aim:g}x", round(part["times_floor"], 1) <= aim),
                ]
            )
        )
    return "\n".join(lines)


def callers(figures: Sequence[Mapping[str, Any]]) -> str:
    """Return the part on several callers at once."""
    shown = [name for name in SYSTEMS if any(name in load["texts"] for load in figures)]
    heads = ["requests a second", "callers", *(LABELS[name] for name in shown)]
    lines = [line(heads), rule(len(heads) - 1)]
    for load in figures:
        cells = [load["texts"].get(name, "-") for name in shown]
        lines.append(line([load["title"], str(load["callers"]), *cells]))
    return "\n".join(lines)


def servers(figures: Sequence[Mapping[str, Any]]) -> str:
    """Return the part on several processes at once."""
    counts = sorted(figures[0]["rates"], key=int)
    heads = ["new 1800x1200 images a second, 1 box"]
    heads += ["1 process" if int(count) == 1 else f"{count} processes" for count in counts]
    lines = [line(heads), rule(len(heads) - 1)]
    for fleet in figures:
        spreads = [Spread.of(fleet["rates"][count]) for count in counts]
        cells = [f"{s.median:.2f} ({s.least:.2f} to {s.most:.2f})" for s in spreads]
        lines.append(line([LABELS[fleet["system"]], *cells]))
    return "\n".join(lines)


def neighbours(figures: Sequence[Mapping[str, Any]]) -> str:
    """Return the part on work beside other work."""
    known = {name for one in figures for name in (*one["seconds"], *one["failures"])}
    shown = [name for name in SYSTEMS if name in known]
    heads = ["work", "beside", *(LABELS[name] for name in shown)]
    lines = [_OF_NEIGHBOURS, "", line(heads), rule(len(heads) - 1)]
    for one in figures:
        cells = [_tail_text(one, name) for name in shown]
        lines.append(line([one["title"], one["beside"], *cells]))
    return "\n".join(lines)


_OF_NEIGHBOURS = "Seconds: the median, the 99th percentile and the worst of the requests."


def _tail_text(figures: Mapping[str, Any], name: str) -> str:
    if name in figures["failures"]:
        return f"failed: {figures['failures'][name]}"
    if name not in figures["seconds"]:
        return "-"
    tail = Tail.of(figures["seconds"][name])
    return f"{tail.median:.3f} / {tail.p99:.3f} / {tail.worst:.3f} ({tail.count})"


def growth(figures: Mapping[str, Any]) -> str:
    """Return the part with the plot of time and memory over boxes."""
    ends = [
        f"The curve of the {LABELS[name]} ends: {curve['end']}."
        for name, curve in figures["curves"].items()
        if curve["end"]
    ]
    return "\n".join([f"![Time and memory over boxes]({figures['plot']})", "", _OF_THE_PLOT, *ends])


_OF_THE_PLOT = """\
Memory includes the masks returned. This block holds them as one dense array up to
`SAM2_BLOCK_DENSE_MASK_BYTES` (1 GiB), as 300 boxes here, and compactly above, as 1000."""


def run(facts: Mapping[str, Any]) -> str:
    """Return when, where and by which command a section was measured."""
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    text = (
        f"{facts['date']}, commit {facts['commit']}. {facts['cpu']}, {facts['cores']} cores"
        f" ({', '.join(facts['flags'])}), {facts['memory_gib']} GiB, {facts['system']};"
        f" Python {facts['python']}, {versions}; PyTorch on {facts['threads']} threads (its"
        f" default), no GPU."
    )
    lines = textwrap.wrap(text, 100, break_on_hyphens=False)
    return "\n".join([*lines, "", "```bash", facts["command"], "```"])


_SECTIONS: dict[str, tuple[str, Any]] = {
    "rows": ("Times", rows),
    "roofline": ("Against the machine's limit", roofline),
    "callers": ("Several callers at once", callers),
    "servers": ("Several processes at once", servers),
    "neighbours": ("Beside other work", neighbours),
    "growth": ("Growth", growth),
}
