"""How many cores a process may use, of folders as Linux lays them out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from sam2_block.compute import cores
from sam2_block.compute.cores import cores_of_quota, usable_cores

MANY = 2**16

# membership, files below the mount, cores
GROUPS = {
    "version 2, of a container": ("0::/", {"cpu.max": "150000 100000"}, 2),
    "version 2, none": ("0::/", {"cpu.max": "max 100000"}, MANY),
    "version 2, the nearest group": (
        "0::/a/b",
        {"a/b/cpu.max": "100000 100000", "a/cpu.max": "400000 100000"},
        1,
    ),
    "version 2, a group around it": (
        "0::/a/b",
        {"a/b/cpu.max": "max 100000", "a/cpu.max": "300000 100000"},
        3,
    ),
    "version 1": (
        "5:memory:/x\n4:cpu,cpuacct:/x",
        {"cpu/x/cpu.cfs_quota_us": "250000", "cpu/x/cpu.cfs_period_us": "100000"},
        3,
    ),
    "version 1, none": (
        "4:cpu:/",
        {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"},
        MANY,
    ),
    # A container sees its own group at the root of the mount, under the host's name for it.
    "version 1, named by the host": (
        "4:cpu:/docker/0123",
        {"cpu/cpu.cfs_quota_us": "200000", "cpu/cpu.cfs_period_us": "100000"},
        2,
    ),
    "less than a core": ("0::/", {"cpu.max": "10000 100000"}, 1),
    "text that is no quota": ("0::/", {"cpu.max": "what 1"}, MANY),
    "no files": ("0::/a", {}, MANY),
}


@pytest.mark.parametrize("name", GROUPS)
def test_the_quota_of_a_control_group(name: str, tmp_path: Path) -> None:
    membership, files, expected = GROUPS[name]
    (tmp_path / "cgroup").write_text(membership + "\n")
    for path, text in files.items():
        file = tmp_path / "mount" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")
    assert cores_of_quota(tmp_path / "cgroup", tmp_path / "mount") == expected


def test_a_system_without_control_groups_has_no_quota(tmp_path: Path) -> None:
    assert cores_of_quota(tmp_path / "cgroup", tmp_path) == MANY


@pytest.mark.parametrize(
    ("threads", "affinity", "quota", "expected"),
    [(8, 4, 6, 4), (8, 16, 3, 3), (2, 16, 6, 2), (1, 1, MANY, 1)],
)
def test_the_least_of_all_bounds_counts(
    threads: int, affinity: int, quota: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(affinity)), raising=False)
    monkeypatch.setattr(cores, "_cores_of_quota", lambda: quota)
    assert usable_cores() == expected
