"""Whatever lock a thread of the parent holds while it forks, a child is not held up by it."""

from __future__ import annotations

import os

import pytest

from tests.fork.scripts import run_script

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")

# (made before the fork, held by a thread during it, done in the child)
HELD = {
    "the client of a server": (
        "from sam2_block.backends.remote.remote_backend import RemoteService;"
        " from sam2_block.settings import RemoteSettings;"
        " service = RemoteService(RemoteSettings())",
        "service._lock",
        "service.client",
    ),
    "the shared objects": (
        "",
        "process_state.SHARED._lock",
        "process_state.SHARED.get('key', object)",
    ),
    "keys of servers": (
        "from sam2_block.backends.remote.recent_keys import RecentKeys; keys = RecentKeys(3)",
        "keys._lock",
        "keys.add('key')",
    ),
    "the models": (
        "from sam2_block.backends.local.models.model_registry import MODELS;"
        " from sam2_block.settings import LocalSettings",
        "MODELS._lock",
        "MODELS.get('demo', LocalSettings(device='cpu'))",
    ),
    "the embeddings": (
        "from sam2_block.backends.local.embedding_cache import EmbeddingCache;"
        " cache = EmbeddingCache(9)",
        "cache._lock",
        "cache.get_or_make('key', lambda: np.zeros(1))",
    ),
    "calls of one at a time": (
        "from sam2_block.backends.local.single_flight import SingleFlight; flights ="
        " SingleFlight()",
        "flights._lock",
        "flights.run('key', int)",
    ),
    "requests under way": (
        "from sam2_block.backends.remote.expiring_semaphore import ExpiringSemaphore;"
        " from sam2_block.backends.remote.http.retry import Deadline;"
        " semaphore = ExpiringSemaphore(1)",
        "semaphore._changed",
        "semaphore.acquire('key', Deadline(3600)).__enter__()",
    ),
    "as many requests as there may be": (
        "from sam2_block.backends.remote.expiring_semaphore import ExpiringSemaphore;"
        " from sam2_block.backends.remote.http.retry import Deadline;"
        " semaphore = ExpiringSemaphore(1)",
        "semaphore.acquire('key', Deadline(3600))",
        "semaphore.acquire('key', Deadline(3600)).__enter__()",
    ),
    "the gate itself": (
        "",
        "process_state.FORK_GATE._changed",
        "process_state.FORK_GATE.held().__enter__()",
    ),
}

SCRIPT = """
from sam2_block import process_state
{made}

def try_out(name, lock, use):
    held, may_end = threading.Event(), threading.Event()

    def hold():
        with lock:
            held.set()
            may_end.wait(60)

    thread = in_a_thread(hold)
    assert held.wait(60)
    if name == "the gate itself":
        threading.Timer(0.2, may_end.set).start()  # the fork takes this lock
    got = in_a_child(lambda: (use(), "used")[1])
    may_end.set()
    thread.join()
    check(name, "'used'", got)

CHILD_S = 30
{tried}
"""


def test_a_child_is_free_of_the_locks_that_threads_of_the_parent_hold() -> None:
    made = "\n".join(made for made, _, _ in HELD.values())
    tried = "\n".join(
        f"try_out({name!r}, {held}, lambda: {used})" for name, (_, held, used) in HELD.items()
    )
    assert run_script(SCRIPT.format(made=made, tried=tried)) == list(HELD)
