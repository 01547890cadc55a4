"""Parsing of `--param NAME=VALUE`, with the spellings that people type."""

from __future__ import annotations

import argparse
import ast
import json
import math
import re
from pathlib import Path
from typing import Any

HELP = """a parameter of the workflow. VALUE is JSON (5, 0.5, true, null, "5", [[1, 2]], {"x": 1});
.5, 5., +5, True, False and None, and lists and dicts in Python's notation, are accepted as well;
everything else is text. @FILE reads JSON from a file. To pass a number as text, quote it: '"5"'"""

# JSON allows no plus sign, and no decimal point without digits on both sides. A number with a
# leading zero, such as 007, is an identifier and stays text.
_NUMBER = re.compile(r"[+-]?((0|[1-9]\d*)(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_MAX_DIGITS = 100  # Python itself limits integers to 4300 digits
_WORDS = {"true": True, "false": False, "none": None, "null": None}


def parameter(argument: str) -> tuple[str, Any]:
    """Return the name and the value of `NAME=VALUE`, for `argparse`."""
    name, separator, value = argument.partition("=")
    if not name or not separator:
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE; got {argument!r}")
    if value.startswith("@"):
        return name, _parameter_file(name, Path(value[1:]))
    return name, parameter_value(value)


def _parameter_file(name: str, path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8-sig"), parse_float=_finite, parse_constant=_finite)
    except OSError as error:
        raise argparse.ArgumentTypeError(
            f"{name}: {path} cannot be read ({error.strerror})"
        ) from error
    except (ValueError, RecursionError) as error:
        raise argparse.ArgumentTypeError(f"{name}: expected JSON in {path}; {error}") from error


def parameter_value(text: str) -> Any:
    """Return the value that a text denotes; the text itself if it denotes no other value."""
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
        # Conversion through JSON turns tuples into lists, and rejects sets, bytes, nan and inf.
        return json.loads(json.dumps(value, allow_nan=False))
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return text


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is not a finite number")
    return value
