"""Read the values that settings take, from text as well as from Python.

Each reader returns the value in its own type and raises `ValueError` saying what it expected.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sam2_block.settings.urls import normalise_url

Reader = Callable[[Any], Any]

_LONGEST_S = 24 * 3600


def device(value: Any) -> str:
    """Read the name of a torch device, or `auto`."""
    text = str(value).strip().lower()
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", text):
        raise ValueError("auto, cpu, cuda, cuda:N or mps")
    return text


def one_of(*names: str) -> Reader:
    """Make a reader of one of some names."""

    def read(value: Any) -> str:
        text = str(value).strip().lower()
        if text not in names:
            raise ValueError(f"one of {', '.join(names)}")
        return text

    return read


def names_of(things: str, known: tuple[str, ...]) -> Reader:
    """Make a reader of some of the known names, in text with commas in between; blank for all."""

    def read(value: Any) -> tuple[str, ...]:
        items = value.split(",") if isinstance(value, str) else list(value or ())
        names = [str(item).strip() for item in items if str(item).strip()]
        if not set(names) <= set(known):
            raise ValueError(f"names of {things} with commas in between, of {', '.join(known)}")
        return tuple(name for name in known if name in names) or known

    return read


def whole_number(unit: str, minimum: int, maximum: int | None = None) -> Reader:
    """Make a reader of a whole number of some unit from `minimum` to `maximum`."""
    upper = "or more" if maximum is None else f"to {maximum}"
    wanted = f"a whole number of {unit}, {minimum} {upper}"

    def read(value: Any) -> int:
        try:
            number = int(str(value).strip())
        except ValueError:
            raise ValueError(wanted) from None
        if number < minimum or (maximum is not None and number > maximum):
            raise ValueError(wanted)
        return number

    return read


def seconds(value: Any) -> float:
    """Read a number of seconds above 0; more than a day is more than sockets and locks can wait."""
    try:
        number = float(str(value).strip())
    except ValueError:
        number = math.nan
    if not (0 < number <= _LONGEST_S):
        raise ValueError(f"a number of seconds above 0, {_LONGEST_S} at the most")
    return number


def boolean(value: Any) -> bool:
    """Read whether something is on."""
    text = str(value).strip().lower()
    if text not in ("true", "1", "yes", "on", "false", "0", "no", "off"):
        raise ValueError("true or false")
    return text in ("true", "1", "yes", "on")


def folder(value: Any) -> Path | None:
    """Read a path; `~` is the home directory."""
    if value is None or str(value).strip() == "":
        return None
    wanted = "the path of a folder, its `~` the home directory of a user who has one"
    try:
        path = Path(value).expanduser()
    except (RuntimeError, TypeError):  # a home directory that is not known; not a path at all
        raise ValueError(wanted) from None
    if "\0" in str(path):
        raise ValueError(wanted)
    return path


def url(value: Any) -> str:
    """Read the URL of a server."""
    return _url(str(value))


def urls(value: Any) -> tuple[str, ...]:
    """Read URLs of servers, in text with commas in between."""
    items = value.split(",") if isinstance(value, str) else list(value or ())
    return tuple(_url(str(item)) for item in items if str(item).strip())


def secret(value: Any) -> str | None:
    """Read a key; blank is none."""
    text = "" if value is None else str(value).strip()
    return text or None


def _url(text: str) -> str:
    try:
        return normalise_url(text)
    except ValueError as error:
        raise HiddenValueError(str(error)) from None


class HiddenValueError(ValueError):
    """A value cannot be read, and must not be shown, as a password may be part of it.

    The message is whole: it says what was expected and what came.
    """
