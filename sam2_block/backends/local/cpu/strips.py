"""How much is treated at a time: as stays in a core's cache, and leaves no core idle for long."""

from __future__ import annotations

import torch

from sam2_block.backends.local.compute_pool import cores

# So many jobs are made for each core, unless they would be larger than its cache.
_JOBS_A_CORE = 4


def strip_of(most: int, count: int) -> int:
    """Return how many items of `count` to treat at a time.

    Args:
        most: How many items of each thread stay in its cache.
        count: All items. Where several cores share them, they make several jobs for each.
    """
    strip = most * torch.get_num_threads()
    if cores() == 1:
        return strip
    return max(1, min(strip, -(-count // (_JOBS_A_CORE * cores()))))


def strips(count: int, most: int, *, width: int = 1, limit: int | None = None) -> list[slice]:
    """Divide rows into those that are treated at a time.

    Args:
        count: Rows.
        most: How many items of each thread stay in its cache.
        width: Items of a row.
        limit: Maximum of items, however many threads treat them; a row is not divided.
    """
    items = strip_of(most, count * width)
    rows = max(1, (items if limit is None else min(items, limit)) // width)
    return [slice(top, min(top + rows, count)) for top in range(0, count, rows)]
