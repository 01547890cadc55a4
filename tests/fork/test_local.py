"""SAM 2 in this process, used in forked children: it works, or says why; it never hangs.

Each script prints a line for each of its checks, and only the name of the check where all is well.
"""

from __future__ import annotations

import os

import pytest

from tests.fork.scripts import run_script

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")

SCRIPTS = {
    # pytorch/pytorch#17199: the main thread's team of OpenMP threads is not in the child.
    "after use on the main thread": """
segmenter = Segmenter("demo")
expected = area(segmenter), area(segmenter, 1)
check("a new image", expected[1], in_a_child(lambda: area(Segmenter("demo"), 1)))
check("a segmenter from before", expected[0], in_a_child(lambda: area(segmenter)))
got = in_a_child(lambda: in_a_child(lambda: area(segmenter, 1)))
check("a grandchild", repr(str(expected[1])), got)
check("the parent", expected[0], area(segmenter))
""",
    # Then the child's main thread cannot use OpenMP at all, whoever calls.
    "after the application's own use of PyTorch": """
import torch

square = torch.ones(600, 600)
(square @ square).softmax(0).sum()
segmenter = Segmenter("demo")
expected = area(segmenter)
check("a child", expected, in_a_child(lambda: area(segmenter)))
check("a child that loads", expected, in_a_child(lambda: (unload(), area(segmenter))[1]))
""",
    # gunicorn --preload: made in the master, and first used in the workers.
    "before the first use": """
segmenter = Segmenter("demo")
first, second = in_a_child(lambda: area(segmenter)), in_a_child(lambda: area(segmenter))
check("two workers", first, second)
check("the parent", first, area(segmenter))
""",
    "a pool of processes": """
import multiprocessing

segmenter = Segmenter("demo")

def work(seed):
    signal.alarm(CHILD_S)
    return area(segmenter, seed)

expected = [work(seed) for seed in range(4)]
signal.alarm(0)
with multiprocessing.get_context("fork").Pool(2) as pool:
    check("every image", expected, pool.map_async(work, range(4)).get(CHILD_S))
""",
    "a thread that forks, after threads that compute": """
segmenter, got = Segmenter("demo"), []
for seed in range(2):
    in_a_thread(lambda: area(segmenter, seed)).join()
in_a_thread(lambda: got.append(in_a_child(lambda: area(segmenter, 2)))).join()
check("a thread", area(segmenter, 2), got[0])
""",
    "threads that encode meanwhile": """
segmenter = Segmenter("demo")
expected, ended, errors = area(segmenter, 7), [], []

def encode(first):
    try:
        for seed in range(first, 200, 3):
            if not ended:
                area(segmenter, seed)
    except BaseException as error:
        errors.append(error)

threads = [in_a_thread(lambda first=first: encode(first)) for first in (100, 101, 102)]
for _ in range(4):
    check("a child", expected, in_a_child(lambda: area(segmenter, 7)))
    area(segmenter, 8)
ended.append(True)
for thread in threads:
    thread.join()
check("no error in the parent", [], errors)
""",
    # The fork waits: a library whose lock a thread held would never be free in the child.
    "a load meanwhile": """
from sam2_block.backends.local.models import model_registry

load, started, may_load = model_registry.load_model, threading.Event(), threading.Event()

def slow_load(*args):
    started.set()
    assert may_load.wait(60)
    return load(*args)

model_registry.load_model = slow_load
segmenter = Segmenter("demo")
loading = in_a_thread(lambda: area(segmenter))
assert started.wait(60)
threading.Timer(0.5, may_load.set).start()
got = in_a_child(lambda: area(segmenter))
loading.join()
check("a child", area(segmenter), got)
""",
    # It does not wait for ever, and then the child cannot tell which locks are held.
    "a load that takes too long": """
from sam2_block import process_state
from sam2_block.backends.local.models import model_registry

process_state.FORK_TIMEOUT_S = 0.2
load, started, may_load = model_registry.load_model, threading.Event(), threading.Event()

def slow_load(*args):
    started.set()
    assert may_load.wait(60)
    return load(*args)

model_registry.load_model = slow_load
segmenter = Segmenter("demo")
loading = in_a_thread(lambda: area(segmenter))
assert started.wait(60)
got = in_a_child(lambda: area(segmenter)), in_a_child(lambda: in_a_child(lambda: area(segmenter)))
may_load.set()
loading.join()
for one in got:
    check("an error", True, "ForkError: this process was forked while its parent" in one)
check("the next child", area(segmenter), in_a_child(lambda: area(segmenter)))
""",
    # A download takes minutes, and a fork does not wait for it: the child fetches for itself.
    "a download meanwhile": """
from sam2_block.backends.local.models import model_registry

fetch, parent = model_registry.fetch_checkpoint, os.getpid()
started, may_end = threading.Event(), threading.Event()

def slow_fetch(*args):
    started.set()
    if os.getpid() == parent:
        assert may_end.wait(60)
    return fetch(*args)

model_registry.fetch_checkpoint = slow_fetch
segmenter = Segmenter("demo")
loading = in_a_thread(lambda: area(segmenter))
assert started.wait(60)
got = in_a_child(lambda: area(segmenter))
may_end.set()
loading.join()
check("a child", area(segmenter), got)
""",
    "a fork by the thread that computes": """
import torch
from sam2_block.compute.compute_pool import COMPUTE_POOL

segmenter = Segmenter("demo")
expected = area(segmenter)
got = COMPUTE_POOL.run(torch.device("cpu"), lambda: in_a_child(lambda: area(segmenter)))
check("an error", True, got.startswith("ForkError: "))
check("the parent", expected, area(segmenter, 0))
""",
    # A caller that is interrupted leaves; its work goes on, and a fork waits for that.
    "after an interruption": """
import _thread
from sam2_block.backends.local import local_backend as backend

encode, started = backend.encode, threading.Event()

def slow_encode(*args):
    if not started.is_set():
        started.set()
        time.sleep(0.5)
    return encode(*args)

segmenter = Segmenter("demo")
area(segmenter)
backend.encode = slow_encode
in_a_thread(lambda: (started.wait(60), _thread.interrupt_main()))
try:
    area(segmenter, 1)
    check("interrupted", True, False)
except KeyboardInterrupt:
    check("a child", in_a_child(lambda: area(segmenter, 1)), area(segmenter, 1))
""",
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_forked_child_works_or_says_why_not(name: str) -> None:
    lines = run_script(SCRIPTS[name])
    assert lines, "nothing was checked"
    assert [line for line in lines if ": expected" in line] == []
