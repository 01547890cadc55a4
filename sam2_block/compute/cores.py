"""Count the cores that this process may use."""

from __future__ import annotations

import functools
import math
import os
from pathlib import Path

import torch


def usable_cores() -> int:
    """Return how many cores this process may keep busy, at least 1.

    The minimum of the cores that it may run on (affinity), the time quota of its control group
    (the limit of a container), and PyTorch's number of threads, which the application may set (with
    `OMP_NUM_THREADS`, for example).
    """
    count = torch.get_num_threads()
    if hasattr(os, "sched_getaffinity"):
        count = min(count, len(os.sched_getaffinity(0)))
    return max(1, min(count, _cores_of_quota()))


@functools.cache
def _cores_of_quota() -> int:
    return cores_of_quota(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))


def cores_of_quota(membership: Path, root: Path) -> int:
    """Return a control group's time quota in cores, rounded up.

    Source: Linux, `Documentation/admin-guide/cgroup-v2.rst` ("cpu.max") and
    `scheduler/sched-bwc.rst`.

    Args:
        membership: File that lists a process's groups, one per line: number, controllers, path.
        root: Folder that the groups' file system is mounted on.

    Returns:
        The minimum over the group and its ancestors; a large number if none has a quota.
    """
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return _NO_QUOTA
    quotas = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        mounted = root if not controllers else root / "cpu"
        group = mounted / path.lstrip("/")
        while True:
            quotas.append(_quota(group))
            if group == mounted or mounted not in group.parents:
                break
            group = group.parent
    return math.ceil(min(quotas, default=_NO_QUOTA))


_NO_QUOTA = 2**16


def _quota(group: Path) -> float:
    """Return a group's quota in cores, from the files of cgroup version 2 or 1."""
    try:
        if (group / "cpu.max").is_file():
            quota, period = (group / "cpu.max").read_text().split()
        else:
            quota = (group / "cpu.cfs_quota_us").read_text()
            period = (group / "cpu.cfs_period_us").read_text()
        return int(quota) / int(period) if int(quota) > 0 else _NO_QUOTA
    except (OSError, ValueError, ZeroDivisionError):  # no such file, or `max`
        return _NO_QUOTA
