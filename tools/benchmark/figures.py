"""Arithmetic on measured figures."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """A median, and the least and the most that was seen."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Summarise at least one value."""
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True)
class Tail:
    """How steady repeated requests are.

    Attributes:
        median: Of all.
        p99: The least that 99 of 100 do not exceed.
        worst: The longest.
        count: How many there were.
    """

    median: float
    p99: float
    worst: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Tail:
        """Summarise at least one value."""
        ordered = sorted(values)
        p99 = ordered[math.ceil(0.99 * len(ordered)) - 1]
        return cls(statistics.median(ordered), p99, ordered[-1], len(ordered))


@dataclass(frozen=True)
class Ratio:
    """How many times more one takes than the other.

    Attributes:
        medians: Ratio of the medians.
        pairs: Median ratio of the pairs, each measured one after the other.
        least: Least ratio of a pair.
        most: Most.
    """

    medians: float
    pairs: float
    least: float
    most: float

    @classmethod
    def of(cls, theirs: Sequence[float], ours: Sequence[float]) -> Ratio:
        """Compare paired values, of which ours are above 0."""
        pairs = [a / b for a, b in zip(theirs, ours, strict=True)]
        medians = statistics.median(theirs) / statistics.median(ours)
        return cls(medians, statistics.median(pairs), min(pairs), max(pairs))


def collapsed(
    measured: dict[str, float], recorded: dict[str, float], *, same_machine: bool
) -> list[str]:
    """Return what is wrong: ratios below half of the recorded ones.

    Args:
        measured: Ratios by name; the name begins with the precision, as in `fp32 new-1`.
        recorded: Those of the last recorded run. A name that only one of both has is not judged.
        same_machine: On another machine only `fp32` is judged: what a lower precision gains hangs
            on what the processor has for it.
    """
    problems = []
    for name in sorted(measured.keys() & recorded.keys()):
        if not same_machine and not name.startswith("fp32 "):
            continue
        if measured[name] < recorded[name] / 2:
            problems.append(
                f"{name}: ratio {measured[name]:.2f}, below half of the recorded"
                f" {recorded[name]:.2f}"
            )
    return problems
