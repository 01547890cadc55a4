"""Short texts of values for messages."""

from __future__ import annotations

import reprlib
from typing import Any

_MAX_CHARACTERS = 80

_repr = reprlib.Repr()
_repr.maxlist = _repr.maxtuple = _repr.maxdict = _repr.maxset = 8
_repr.maxstring = _repr.maxother = 200


def short_repr(value: Any) -> str:
    """Return a value as text of at most 80 characters, a container by its first items only."""
    try:
        text = _repr.repr(value)
    except ValueError:  # an integer of more digits than Python writes
        text = f"<{type(value).__name__}>"
    return text if len(text) <= _MAX_CHARACTERS else text[: _MAX_CHARACTERS - 3] + "..."
