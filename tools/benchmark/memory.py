"""Resident memory by the operating system's own count (Linux)."""

from __future__ import annotations

import ctypes
import gc
from pathlib import Path

KIB, MIB, GIB = 1024, 1024**2, 1024**3


def resident(field: str, process: int | str = "self") -> int:
    """Return `VmRSS` (now) or `VmHWM` (the most since the last restart) in bytes."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * KIB
    raise RuntimeError(f"/proc/{process}/status has no {field}")


def restart_peak() -> int:
    """Give back what is free, forget the peak so far, and return what is resident now."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return resident("VmRSS")


def available() -> int:
    """Return the bytes that the machine could still hand out without swapping."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * KIB
    raise RuntimeError("/proc/meminfo has no MemAvailable")
