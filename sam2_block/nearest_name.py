"""The name that was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean X?` for the known name nearest to a wrong one, or empty text.

    Args:
        name: The wrong name, compared without regard to case.
        known: What could have been meant.
    """
    by_lower = {one.lower(): one for one in known}
    close = difflib.get_close_matches(name[:100].lower(), by_lower, n=1)
    return f"; did you mean {by_lower[close[0]]}?" if close else ""
