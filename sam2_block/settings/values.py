"""Readers of the values of settings, from text or from Python.

Each reader returns the value in its own type, and raises `ValueError` with what it expected.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sam2_block.settings.urls import normalise_url

Reader = Callable[[Any], Any]

_MAX_SECONDS = 24 * 3600


def device(value: Any) -> str:
    """Read the name of a torch device, or `auto`."""
    text = str(value).strip().lower()
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", text):
        raise ValueError("auto, cpu, cuda, cuda:N or mps")
    return text


def one_of(*names: str) -> Reader:
    """Make a reader that accepts one of the names."""

    def read(value: Any) -> str:
        text = str(value).strip().lower()
        if text not in names:
            raise ValueError(f"one of {', '.join(names)}")
        return text

    return read


def names_of(things: str, known: tuple[str, ...]) -> Reader:
    """Make a reader of a selection of known names, comma-separated in text; blank selects all."""

    def read(value: Any) -> tuple[str, ...]:
        items = value.split(",") if isinstance(value, str) else list(value or ())
        names = [str(item).strip() for item in items if str(item).strip()]
        if not set(names) <= set(known):
            raise ValueError(f"comma-separated names of {things}, of {', '.join(known)}")
        return tuple(name for name in known if name in names) or known

    return read


def whole_number(unit: str, minimum: int, maximum: int | None = None) -> Reader:
    """Make a reader of a whole number of some unit from `minimum` to `maximum`."""
    upper = "or more" if maximum is None else f"to {maximum}"
    expected = f"a whole number of {unit}, {minimum} {upper}"

    def read(value: Any) -> int:
        try:
            number = int(str(value).strip())
        except ValueError:
            raise ValueError(expected) from None
        if number < minimum or (maximum is not None and number > maximum):
            raise ValueError(expected)
        return number

    return read


def seconds(value: Any) -> float:
    """Read a number of seconds above 0, at most a day: waits of sockets and locks are limited."""
    try:
        number = float(str(value).strip())
    except ValueError:
        number = math.nan
    if not (0 < number <= _MAX_SECONDS):
        raise ValueError(f"a number of seconds above 0, at most {_MAX_SECONDS}")
    return number


def boolean(value: Any) -> bool:
    """Read a truth value."""
    text = str(value).strip().lower()
    if text not in ("true", "1", "yes", "on", "false", "0", "no", "off"):
        raise ValueError("true or false")
    return text in ("true", "1", "yes", "on")


def folder(value: Any) -> Path | None:
    """Read a path; `~` is the home directory."""
    if value is None or str(value).strip() == "":
        return None
    expected = "the path of a folder, in which `~` is the home directory of a known user"
    try:
        path = Path(value).expanduser()
    except (RuntimeError, TypeError):  # an unknown home directory; not a path
        raise ValueError(expected) from None
    if "\0" in str(path):
        raise ValueError(expected)
    return path


def url(value: Any) -> str:
    """Read the URL of a server."""
    return _url(str(value))


def urls(value: Any) -> tuple[str, ...]:
    """Read URLs of servers, comma-separated in text."""
    items = value.split(",") if isinstance(value, str) else list(value or ())
    return tuple(_url(str(item)) for item in items if str(item).strip())


def secret(value: Any) -> str | None:
    """Read a key; None if it is blank."""
    text = "" if value is None else str(value).strip()
    return text or None


def _url(text: str) -> str:
    try:
        return normalise_url(text)
    except ValueError as error:
        raise HiddenValueError(str(error)) from None


class HiddenValueError(ValueError):
    """A value cannot be read, and must not be shown, because it may contain a password.

    The message is complete: it states what was expected and what was given.
    """
