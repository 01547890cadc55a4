"""Redact keys in messages. Results are never redacted: they contain no key."""

from __future__ import annotations

import re
from urllib.parse import quote

_DISTINCTIVE_LENGTH = 8


def redact(text: str, *keys: str | None) -> str:
    """Replace keys in a message by `***`.

    A key of eight characters or more is replaced wherever it occurs, also percent-encoded. A
    shorter one may be an ordinary word, such as `mask`, and is replaced only as a value: in quotes,
    or after `=`.

    Args:
        text: A message or a line of a log.
        keys: The keys; None and empty ones are skipped.
    """
    for key in keys:
        if not key:
            continue
        for form in dict.fromkeys((key, quote(key, safe=""))):
            if len(key) >= _DISTINCTIVE_LENGTH:
                text = text.replace(form, "***")
            else:
                text = re.sub(rf"""(?<=["'=]){re.escape(form)}(?=["'&,;)}}\s]|$)""", "***", text)
    return text
