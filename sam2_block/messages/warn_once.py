"""Warnings that a stream would repeat with every frame, logged once per process."""

from __future__ import annotations

import logging
from collections.abc import Hashable
from typing import Any

_seen: dict[Hashable, object] = {}


def warn_once(logger: logging.Logger, key: Hashable, message: str, *details: Any) -> None:
    """Log a warning, unless one with this key has been logged in this process.

    Args:
        logger: Where it is logged.
        key: Names the kind of warning.
        message: As `logging.Logger.warning` takes it.
        details: Arguments of the message.
    """
    marker = object()
    if _seen.setdefault(key, marker) is marker:  # atomic, so threads need no lock
        logger.warning(message, *details)


def forget_warnings() -> None:
    """Forget the logged kinds, so that each is logged once more; for tests."""
    _seen.clear()
