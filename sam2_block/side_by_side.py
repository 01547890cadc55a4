"""Work on several things at once, and have the results in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_side_by_side(
    call: Callable[[Item], Result], items: Sequence[Item], at_once: int
) -> list[Result]:
    """Call a function with every item, `at_once` of them at a time.

    Args:
        call: Called in threads of its own where `at_once` is more than 1.
        items: What it is called with.
        at_once: 1 or more.

    Returns:
        The results, in the order of the items.

    Raises:
        Exception: What the first item in order to fail raised; items not yet begun are dropped.
    """
    if at_once == 1 or len(items) < 2:
        return [call(item) for item in items]
    with ThreadPoolExecutor(min(at_once, len(items)), "sam2_block-image") as threads:
        futures = [threads.submit(call, item) for item in items]
        try:
            return [future.result() for future in futures]
        finally:
            for future in futures:
                future.cancel()
