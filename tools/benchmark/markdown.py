"""Figures as text, and lines of a Markdown table."""

from __future__ import annotations

from collections.abc import Sequence

from benchmark.figures import Spread
from benchmark.memory import GIB, MIB


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


def line(cells: Sequence[str]) -> str:
    """Return one line of a table."""
    return "| " + " | ".join(cells) + " |"


def rule(figures: int) -> str:
    """Return the line below a table's head: words at the left, then figures at the right."""
    return line(["---", *["--:"] * figures])
