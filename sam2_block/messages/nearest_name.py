"""The name that was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest_name(name: str, known: Iterable[str]) -> str | None:
    """Return the known name nearest to a wrong one, ignoring case; None if none is near.

    Args:
        name: The wrong name.
        known: The valid names.
    """
    by_lower = {one.lower(): one for one in known}
    close = difflib.get_close_matches(name[:100].lower(), by_lower, n=1)
    return by_lower[close[0]] if close else None
