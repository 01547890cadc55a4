"""A thread that computes alone, whatever the rest of the process does."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import os, sys, threading, torch
from sam2_block.compute.openmp import use_one_thread

torch.set_num_threads(4) if sys.argv[1] == "after set_num_threads" else None
numbers = torch.ones(1000, 1000, dtype=getattr(torch, sys.argv[2]))

def threads():
    return len(os.listdir("/proc/self/task"))

def compute():
    use_one_thread()
    before = threads()
    numbers @ numbers
    numbers.exp().softmax(0).sum()
    torch.ops.mkldnn._linear_pointwise(numbers, numbers, None, "none", [], "")
    print(threads() - before, torch.get_num_threads(), flush=True)

others = torch.get_num_threads()
thread = threading.Thread(target=compute)
thread.start()
thread.join()
print(torch.get_num_threads() == others)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("when", ["as it is", "after set_num_threads"])
def test_a_thread_computes_alone_and_others_as_before(when: str, dtype: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, when, dtype], capture_output=True, text=True, timeout=120
    )
    assert done.stdout == "0 1\nTrue\n", done.stderr
