"""The block in the engine's tensor representation, which takes a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_tests_of_tensor_mode_pass() -> None:
    pytest.importorskip("inference", reason="tensor mode is switched on by the host")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "tests/tensor", "-q", "-p", "no:cacheprovider"],
        cwd=ROOT,
        env={**os.environ, "ENABLE_TENSOR_DATA_REPRESENTATION": "True"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2_000:]


def test_elsewhere_nothing_of_it_is_imported() -> None:
    program = "import sam2_block, sys; sam2_block.load_blocks(); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, "ENABLE_TENSOR_DATA_REPRESENTATION": "False"},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "sam2_block.blocks.segment.v1" in done.stdout.split()
    assert "sam2_block.blocks.native" not in done.stdout.split()
