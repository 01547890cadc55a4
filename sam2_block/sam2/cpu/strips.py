"""Division of work into jobs that fit in a core's cache and leave no core idle for long."""

from __future__ import annotations

import torch

from sam2_block.compute.compute_pool import cores

# Jobs per core; more where these would not fit in its cache.
_JOBS_PER_CORE = 4


def strip_size(max_items: int, count: int) -> int:
    """Return the number of items in a job.

    Args:
        max_items: Number of items that fit in a core's cache.
        count: Number of all items. Several cores get several jobs each.
    """
    strip = max_items * torch.get_num_threads()
    if cores() == 1:
        return strip
    return max(1, min(strip, -(-count // (_JOBS_PER_CORE * cores()))))


def strips(count: int, max_items: int, *, width: int = 1, limit: int | None = None) -> list[slice]:
    """Divide rows into jobs.

    Args:
        count: Number of rows.
        max_items: Number of items that fit in a core's cache.
        width: Items per row.
        limit: Maximum items per job, for jobs that grow with PyTorch's threads. A row is never
            divided.
    """
    items = strip_size(max_items, count * width)
    rows = max(1, (items if limit is None else min(items, limit)) // width)
    return [slice(top, min(top + rows, count)) for top in range(0, count, rows)]
