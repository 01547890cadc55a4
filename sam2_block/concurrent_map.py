"""Call a function with several items at once, and return the results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_concurrently(
    call: Callable[[Item], Result], items: Sequence[Item], max_workers: int
) -> list[Result]:
    """Call a function with every item, `max_workers` of them at a time.

    Args:
        call: The function; called in separate threads if `max_workers` is more than 1.
        items: Its arguments.
        max_workers: 1 or more.

    Returns:
        The results, in the order of the items.

    Raises:
        Exception: The error of the first item, in order, that failed; items not yet begun are
            dropped.
    """
    if max_workers == 1 or len(items) < 2:
        return [call(item) for item in items]
    workers = min(max_workers, len(items))
    return list(stream_concurrently(call, items, workers, ahead=len(items)))


def stream_concurrently(
    call: Callable[[Item], Result], items: Iterable[Item], max_workers: int, *, ahead: int = 1
) -> Generator[Result, None, None]:
    """Call a function with every item of a stream, `max_workers` of them at a time.

    The next item is read from the stream while the calls before it run. At most
    `max_workers + ahead` items and results are in memory.

    Args:
        call: The function; called in separate threads.
        items: Iterated in the thread that iterates over the results.
        max_workers: 1 or more.
        ahead: Maximum number of items read beyond `max_workers`, 1 or more.

    Yields:
        The results, in the order of the items.

    Raises:
        Exception: The error of the first item, in order, that failed; raised in place of its
            result. Items not yet begun are dropped, as they are when the iterator is closed.
    """
    with ThreadPoolExecutor(max_workers, "sam2_block-image") as threads:
        pending: deque[Future[Result]] = deque()
        try:
            for item in items:
                pending.append(threads.submit(call, item))
                if len(pending) >= max_workers + ahead:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
