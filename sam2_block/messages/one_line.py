"""Text on one line."""

from __future__ import annotations


def one_line(text: str, width: int = 600) -> str:
    """Fold text into one line of at most `width` characters."""
    folded = " ".join(text.split())
    return folded if len(folded) <= width else folded[: width - 3] + "..."
