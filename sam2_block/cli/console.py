"""Output of the command: results on stdout, unchanged, and messages on stderr, with keys redacted.

No problem with these two streams costs a result: characters that cannot be encoded are escaped, and
a stream that has lost its reader discards the rest.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from sam2_block.messages.redaction import redact

KEY_VARIABLES = ("ROBOFLOW_API_KEY", "API_KEY")
"""The variables in which Roboflow's models look for their key."""

_SECRET_VARIABLES = ("SAM2_BLOCK_API_KEY", *KEY_VARIABLES)


def print_message(text: str) -> None:
    """Print a message on stderr, with keys redacted."""
    _print(f"sam2-block: {redact_keys(text)}", sys.stderr)


def print_result(text: str) -> bool:
    """Print a result on stdout.

    Returns:
        False if stdout accepts no output, as on a full disk; the reason is reported on stderr. A
        reader that left has seen what it wanted, so that is no failure.
    """
    problem = _print(text, sys.stdout)
    if problem:
        print_message(f"nothing more can be printed ({problem})")
    return not problem


def path_text(path: Path) -> str:
    """Return a path on one line."""
    return str(path).translate(_LINE_BREAKS)


_LINE_BREAKS = {
    ord(character): ascii(character)[1:-1] for character in "\n\r\t\v\f\x85\u2028\u2029"
}
# Control characters, which a terminal would obey; tab and line feed stay.
_CONTROL = {
    code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if code not in (9, 10)
}


def _print(text: str, stream: TextIO | None) -> str:
    """Print a text; return the reason if the stream fails, empty if only its reader left."""
    if stream is None or stream.closed:  # None where it was closed when the process started
        return ""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    printable = text.translate(_CONTROL).encode(encoding, "backslashreplace").decode(encoding)
    try:
        print(printable, file=stream, flush=True)
    except OSError as error:
        _silence(stream)
        # A closed pipe is EPIPE, on Windows EINVAL.
        return "" if error.errno in (errno.EPIPE, errno.EINVAL) else str(error.strerror)
    return ""


def _silence(stream: TextIO) -> None:
    """Redirect a stream to the null device, with what it still buffers."""
    with contextlib.suppress(OSError):
        descriptor = os.open(os.devnull, os.O_WRONLY)
        os.dup2(descriptor, stream.fileno())
        os.close(descriptor)


@contextlib.contextmanager
def standard_streams() -> Iterator[None]:
    """Keep the process's streams usable from its start to its final flush."""
    # If a standard descriptor is closed, the next opened file gets its number, and libraries that
    # write to stderr would write into that file.
    with contextlib.suppress(OSError):
        while (descriptor := os.open(os.devnull, os.O_RDWR)) < 3:
            pass
        os.close(descriptor)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                if stream is not None and not stream.closed:
                    stream.flush()
            except OSError:
                _silence(stream)


def redact_keys(text: str) -> str:
    """Redact the keys of this process in a message: errors of HTTP clients quote URLs."""
    return redact(text, *(os.environ.get(name, "").strip() for name in _SECRET_VARIABLES))


def table(header: Sequence[str], rows: Sequence[Sequence[str]], right: str = "") -> list[str]:
    """Align columns.

    Args:
        header: Name of each column.
        rows: The cells of each row, one per column.
        right: One character per column: `r` aligns it to the right, anything else to the left.
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
        return redact_keys(super().format(record))


@contextlib.contextmanager
def package_warnings_shown() -> Iterator[None]:
    """Show this package's warnings, which a library leaves to the program's logging."""
    handler = logging.StreamHandler()
    handler.setLevel(logging.WARNING)
    handler.setFormatter(_Redacting("sam2-block: %(message)s"))
    logger = logging.getLogger("sam2_block")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
