"""When to retry, and how long to wait: exponential backoff with jitter, and a deadline.

Jitter spreads the callers of an overloaded server over the whole wait ("full jitter": M. Brooker,
"Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
"""

from __future__ import annotations

import datetime
import email.utils
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

CONNECT_TIMEOUT_S = 10.0

# The longest silence of a server. A longer deadline is for a slower server: a third of it, so that
# two more attempts fit.
READ_TIMEOUT_S = 60.0
READ_TIMEOUTS_PER_DEADLINE = 3

TRANSIENT_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True)
class RetryPolicy:
    """The number of attempts, and the waits between them.

    Attributes:
        max_attempts: Maximum number of attempts at one request, including the first.
        backoff_s: Longest wait before the second attempt; it doubles with each later one.
        max_backoff_s: Longest wait before any attempt, unless the server requests a longer one.
        jitter: Returns the fraction of the longest wait to use, 0 to 1.
    """

    max_attempts: int = 4
    backoff_s: float = 0.5
    max_backoff_s: float = 8.0
    jitter: Callable[[], float] = random.random

    def wait_s(self, failures: int, retry_after_s: float | None) -> float | None:
        """Return how long to wait before the next attempt.

        Args:
            failures: Failed attempts so far, 1 or more.
            retry_after_s: The server's `Retry-After`, or None.

        Returns:
            Seconds, or None if there is no further attempt.
        """
        if failures >= self.max_attempts:
            return None
        doublings = min(failures - 1, 30)  # beyond that, the cap applies anyway
        longest = min(self.max_backoff_s, self.backoff_s * float(2**doublings))
        return max(longest * self.jitter(), retry_after_s or 0.0)


DEFAULT_RETRY_POLICY = RetryPolicy()


class Deadline:
    """The time at which a piece of work is given up.

    Args:
        seconds: How long from now.
        clock: Returns the time in seconds.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._clock = clock
        self._end = clock() + seconds

    def remaining_s(self) -> float:
        """Return the seconds left, 0 when there are none."""
        return max(0.0, self._end - self._clock())

    def expire(self) -> None:
        """Set the remaining time to 0: the work is no longer needed."""
        self._end = self._clock()


def parse_retry_after(header: str | None, now: Callable[[], float] = time.time) -> float | None:
    """Parse a `Retry-After` header (RFC 9110, 10.2.3): seconds, or a date.

    Returns:
        Seconds to wait, 0 for a date that has passed; None if there is no header, or if it holds
        neither.
    """
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        moment = email.utils.parsedate_to_datetime(text)
        if moment.tzinfo is None:  # one form of HTTP date has no zone; all are in UTC
            moment = moment.replace(tzinfo=datetime.timezone.utc)
        return max(0.0, moment.timestamp() - now())
    except (ValueError, OverflowError):
        return None
