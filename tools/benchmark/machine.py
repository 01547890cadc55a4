"""What a run ran on: hardware, versions, commit."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmark.memory import GIB
from benchmark.places import REPOSITORY

# Instructions that matrix products in single and half precision are made of.
_FLAGS = ("avx2", "fma", "avx512f", "avx512_bf16", "amx_bf16", "avx_vnni", "asimd", "bf16")
_PACKAGES = ("torch", "inference", "inference-models", "roboflow-workflows", "rf-sam-2", "numpy")


def describe() -> dict[str, Any]:
    """Return the machine and the versions."""
    processor = _processor()
    return {
        "date": date.today().isoformat(),
        "commit": commit(),
        "cpu": processor.get("model name", platform.processor() or platform.machine()),
        "cores": len(os.sched_getaffinity(0)),
        "flags": [flag for flag in _FLAGS if flag in processor.get("flags", "").split()],
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB, 1),
        "system": platform.system() + " " + platform.release(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in _PACKAGES},
    }


def same_machine(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two descriptions are of machines with the same processor and number of cores."""
    return all(one.get(name) == other.get(name) for name in ("cpu", "cores", "flags"))


def commit() -> str:
    """Return the commit of this checkout, and whether files differ from it."""
    try:
        short = _git("rev-parse", "--short", "HEAD")
        # What the benchmark itself writes does not count.
        changed = _git("status", "--porcelain", "--untracked-files=no", "--", ":!docs")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return short + (" with changes" if changed else "")


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(REPOSITORY), *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def _processor() -> dict[str, str]:
    lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    pairs = [line.partition(":") for line in lines]
    return {name.strip(): value.strip() for name, _, value in pairs}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
