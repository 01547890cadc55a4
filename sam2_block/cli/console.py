"""What the command says: results on stdout, everything else on stderr, and no secret on either."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator, Sequence

KEY_VARIABLES = ("ROBOFLOW_API_KEY", "API_KEY")
"""Where Roboflow's models look for their key."""

_SECRET_VARIABLES = ("SAM2_BLOCK_API_KEY", *KEY_VARIABLES)


def say(text: str) -> None:
    """Say something on stderr."""
    print(f"sam2-block: {redact(text)}", file=sys.stderr, flush=True)


def one_line(text: str, width: int = 600) -> str:
    """Fold text into one line, cut where it is longer than `width`."""
    folded = " ".join(text.split())
    return folded if len(folded) <= width else folded[: width - 3] + "..."


def redact(text: str) -> str:
    """Replace the keys of this process: error messages of HTTP clients quote URLs."""
    for variable in _SECRET_VARIABLES:
        key = os.environ.get(variable, "").strip()
        if len(key) > 3:
            text = text.replace(key, "***")
    return text


def table(header: Sequence[str], rows: Sequence[Sequence[str]], right: str = "") -> list[str]:
    """Align columns.

    Args:
        header: Name of each column.
        rows: Cells, as many a row as there are columns.
        right: One character a column: `r` draws it to the right, anything else to the left.
    """
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    sides = right.ljust(len(widths))
    return [
        "  ".join(
            cell.rjust(width) if side == "r" else cell.ljust(width)
            for cell, width, side in zip(row, widths, sides, strict=True)
        ).rstrip()
        for row in (header, *rows)
    ]


class _Redacting(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


@contextlib.contextmanager
def package_warnings_shown() -> Iterator[None]:
    """Show what this package warns of (the library itself is quiet until a program asks)."""
    handler = logging.StreamHandler()
    handler.setLevel(logging.WARNING)
    handler.setFormatter(_Redacting("sam2-block: %(message)s"))
    logger = logging.getLogger("sam2_block")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
