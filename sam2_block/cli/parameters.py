"""Values of `--param NAME=VALUE`, as people type them."""

from __future__ import annotations

import argparse
import ast
import json
import math
import re
from typing import Any

HELP = """a parameter of the workflow. VALUE is JSON (5, 0.5, true, null, "5", [[1, 2]], {"x": 1});
.5, 5., +5, True, False and None, and lists and dicts in Python's notation, are read as well;
everything else is text. Quotes make text of a number: '"5"'"""

# JSON allows no plus, and no point without a digit on both sides. A number that begins with a
# superfluous zero, as 007, is an identifier, and stays text.
_NUMBER = re.compile(r"[+-]?((0|[1-9]\d*)(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_MAX_DIGITS = 100  # Python itself reads no more than 4300 of an integer
_WORDS = {"true": True, "false": False, "none": None, "null": None}


def parameter(argument: str) -> tuple[str, Any]:
    """Return the name and the value of `NAME=VALUE`, for `argparse`."""
    name, separator, value = argument.partition("=")
    if not name or not separator:
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE; got {argument!r}")
    return name, parameter_value(value)


def parameter_value(text: str) -> Any:
    """Return the value that a text stands for; itself where it stands for nothing else."""
    stripped = text.strip()
    try:
        return json.loads(text, parse_float=_finite, parse_constant=_finite)
    except (ValueError, RecursionError):
        if stripped.lower() in _WORDS:
            return _WORDS[stripped.lower()]
        if len(stripped) <= _MAX_DIGITS and _NUMBER.fullmatch(stripped):
            number = float(stripped) if set(stripped) & set(".eE") else int(stripped)
            return number if math.isfinite(number) else text
        return _python_literal(text) if stripped.startswith(("[", "{")) else text


def _python_literal(text: str) -> Any:
    try:
        value = ast.literal_eval(text.strip())
        # Through JSON: tuples become lists, and sets, bytes, nan and inf are refused.
        return json.loads(json.dumps(value, allow_nan=False))
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return text


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is not a finite number")
    return value
