"""Work on several things at once, and have the results in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_concurrently(
    call: Callable[[Item], Result], items: Sequence[Item], max_workers: int
) -> list[Result]:
    """Call a function with every item, `max_workers` of them at a time.

    Args:
        call: Called in threads of its own where `max_workers` is more than 1.
        items: What it is called with.
        max_workers: 1 or more.

    Returns:
        The results, in the order of the items.

    Raises:
        Exception: What the first item in order to fail raised; items not yet begun are dropped.
    """
    if max_workers == 1 or len(items) < 2:
        return [call(item) for item in items]
    with ThreadPoolExecutor(min(max_workers, len(items)), "sam2_block-image") as threads:
        futures = [threads.submit(call, item) for item in items]
        try:
            return [future.result() for future in futures]
        finally:
            for future in futures:
                future.cancel()
