"""Run a script that forks, in a process group of its own that never outlives the test."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

# More than any of the scripts takes on a busy machine. A child that hangs kills itself sooner.
PATIENCE_S = 240
PREAMBLE = Path(__file__).with_name("preamble.py").read_text(encoding="utf-8")


def run_script(script: str, *arguments: str, **environment: str) -> list[str]:
    """Return the lines that a script prints.

    It begins with `preamble.py`. OpenMP has two threads, whatever the tests are run with: a team of
    one has nothing that a child could miss.
    """
    process = subprocess.Popen(
        [sys.executable, "-c", PREAMBLE + script, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "2", "SAM2_BLOCK_DEVICE": "cpu", **environment},
    )
    try:
        printed, errors = process.communicate(timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        pytest.fail("the script did not end")
    finally:
        with contextlib.suppress(ProcessLookupError):  # nothing of it is left
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert process.returncode == 0, errors
    return printed.splitlines()
