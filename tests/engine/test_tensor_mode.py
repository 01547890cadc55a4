"""The block in the engine's tensor representation, which takes a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("inference", reason="tensor mode is switched on by the host")


def test_tests_of_tensor_mode_pass() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "tests/tensor", "-q", "-p", "no:cacheprovider"],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "ENABLE_TENSOR_DATA_REPRESENTATION": "True"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2_000:]
