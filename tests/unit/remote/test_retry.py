from __future__ import annotations

import random
import time
from collections.abc import Iterator

import pytest

from sam2_block.backends.remote.http.retry import (
    TRANSIENT_STATUSES,
    Deadline,
    RetryPolicy,
    parse_retry_after,
)


def policy(share: float = 1.0, attempts: int = 100) -> RetryPolicy:
    return RetryPolicy(attempts, 0.5, 8.0, jitter=lambda: share)


@pytest.mark.parametrize(
    ("failures", "longest_s"),
    # Doubled every time, up to the cap.
    [(1, 0.5), (2, 1.0), (3, 2.0), (4, 4.0), (5, 8.0), (6, 8.0), (31, 8.0), (99, 8.0)],
)
@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_wait_is_a_jitter_of_a_bound_that_doubles(
    failures: int, longest_s: float, share: float
) -> None:
    assert policy(share).wait_s(failures, None) == share * longest_s


def test_share_is_random_where_none_is_given() -> None:
    waits = {RetryPolicy(10, 0.5, 8.0).wait_s(5, None) for _ in range(50)}
    assert len(waits) > 1
    assert all(wait is not None and 0 <= wait <= 8 for wait in waits)


def test_cap_holds_for_the_first_wait_too() -> None:
    assert RetryPolicy(10, 30.0, 8.0, lambda: 1.0).wait_s(1, None) == 8.0


def test_bound_of_ever_so_many_failures_is_a_number() -> None:
    assert RetryPolicy(10**9, 0.5, 8.0, lambda: 1.0).wait_s(10**8, None) == 8.0


@pytest.mark.parametrize(
    ("share", "asked_s", "wait_s"),
    [
        # The server is not asked earlier than it wants, even beyond our own cap.
        (0.0, 3.0, 3.0),
        (1.0, 0.2, 0.5),
        (1.0, 60.0, 60.0),
        (0.5, 0.0, 0.25),
    ],
)
def test_wait_is_at_least_what_the_server_asks_for(
    share: float, asked_s: float, wait_s: float
) -> None:
    assert policy(share).wait_s(1, asked_s) == wait_s


@pytest.mark.parametrize("attempts", [1, 2, 5])
def test_there_are_as_many_tries_as_were_agreed(attempts: int) -> None:
    waits = [policy(attempts=attempts).wait_s(failures, 1.0) for failures in range(1, 8)]
    assert [wait is not None for wait in waits] == [failures < attempts for failures in range(1, 8)]


def test_statuses_that_may_pass() -> None:
    assert sorted(TRANSIENT_STATUSES) == [408, 425, 429, 500, 502, 503, 504]


# Sun, 06 Nov 1994 08:49:37 GMT, the date of RFC 9110's examples.
MOMENT = 784_111_777.0


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("0", 0.0),
        ("120", 120.0),
        (" 7 ", 7.0),
        # Years and more: no deadline has room for it, and it is still a number.
        ("999999999", 999_999_999.0),
        ("9" * 400, 999_999_999.0),
        # The three forms of a date; the last names no zone, and means UTC all the same.
        ("Sun, 06 Nov 1994 08:49:37 GMT", 10.0),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 10.0),
        ("Sun Nov  6 08:49:37 1994", 10.0),
        ("Sun, 06 Nov 1994 08:49:37 -0000", 10.0),
        ("Sun, 06 Nov 1994 10:49:37 +0200", 10.0),
        ("Sun, 06 Nov 1994 08:49:27 GMT", 0.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        # Neither.
        ("", None),
        ("  ", None),
        ("-5", None),
        ("+5", None),
        ("1.5", None),
        ("1e3", None),
        ("0x10", None),
        ("nan", None),
        ("inf", None),
        ("soon", None),
        ("\u0663", None),
        ("\u00b2", None),
        ("5, 6", None),
        ("Sun, 99 Nov 1994 08:49:37 GMT", None),
        ("Sun, 06 Nov 1994 25:49:37 GMT", None),
        ("Sun, 06 Nov 1994 08:49:37 +999999", None),
        ("Sun, 06 Nov 99999 08:49:37 GMT", None),
    ],
)
def test_retry_after(header: str | None, seconds: float | None) -> None:
    assert parse_retry_after(header, now=lambda: MOMENT - 10) == seconds


@pytest.fixture
def far_from_greenwich(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("far_from_greenwich")
@pytest.mark.parametrize("date", ["Sun Nov  6 08:49:37 1994", "Sun, 06 Nov 1994 08:49:37 -0000"])
def test_date_without_a_zone_is_not_in_that_of_the_machine(date: str) -> None:
    assert parse_retry_after(date, now=lambda: MOMENT - 10) == 10.0


def test_no_header_whatever_is_an_error_or_a_negative_wait() -> None:
    random_ = random.Random(7)
    seeds = ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "120", ""]
    seeds += ["Sun Nov  6 08:49:37 1994", "Mon, 01 Jan 0001 00:00:00 +2300"]
    pieces = [*"0123456789-+:, ./()\t\x00GMTan", "\u00b2", "9" * 20, "-9999", "\xff"]
    for _ in range(5000):
        header = random_.choice(seeds)
        for _ in range(random_.randint(1, 4)):
            start = random_.randrange(len(header) + 1)
            end = start + random_.choice([0, 1, 4])
            header = header[:start] + random_.choice(pieces) + header[end:]
        seconds = parse_retry_after(header, now=lambda: 0.0)
        assert seconds is None or 0 <= seconds < 1e12, repr(header)


def test_deadline() -> None:
    moments = iter([100.0, 100.0, 102.5, 105.0, 999.0])
    deadline = Deadline(5.0, clock=lambda: next(moments))
    assert deadline.seconds == 5.0
    assert [deadline.remaining_s() for _ in range(4)] == [5.0, 2.5, 0.0, 0.0]
