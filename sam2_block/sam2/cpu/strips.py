"""The size of a job: as much as stays in a core's cache, and leaves no core idle for long."""

from __future__ import annotations

import torch

from sam2_block.compute.compute_pool import cores

# So many jobs are made for each core, unless they would be larger than its cache.
_JOBS_A_CORE = 4


def strip_of(max_items: int, count: int) -> int:
    """Return how many items of `count` make a job.

    Args:
        max_items: How many items stay in the cache of a core.
        count: All items. Where several cores share them, they make several jobs for each.
    """
    strip = max_items * torch.get_num_threads()
    if cores() == 1:
        return strip
    return max(1, min(strip, -(-count // (_JOBS_A_CORE * cores()))))


def strips(count: int, max_items: int, *, width: int = 1, limit: int | None = None) -> list[slice]:
    """Divide rows into jobs.

    Args:
        count: Rows.
        max_items: How many items stay in the cache of a core.
        width: Items of a row.
        limit: Maximum of items of a job, where PyTorch has several threads; a row is not divided.
    """
    items = strip_of(max_items, count * width)
    rows = max(1, (items if limit is None else min(items, limit)) // width)
    return [slice(top, min(top + rows, count)) for top in range(0, count, rows)]
