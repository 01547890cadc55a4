"""Everything that a process shares is known to `process_state`; forks themselves: tests/fork."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from sam2_block import process_state
from sam2_block.process_state import SharedObjects

PACKAGE = Path(process_state.__file__).parent
# What a child cannot use as it is. Not `threading.local`: the only thread of a child goes on with
# what it had.
CALLS = {
    "BoundedSemaphore", "Client", "Condition", "Event", "HttpClient", "Lock",
    "ProcessPoolExecutor", "Queue", "RLock", "Semaphore", "Session", "SimpleQueue", "Thread",
    "ThreadPoolExecutor",
}  # fmt: skip
# (file, class): why it need not be reset.
EXEMPT = {
    ("process_state.py", "ForkGate"): "has hooks of its own",
    ("compute/compute_pool.py", "_Work"): "the thread that waits for it does not fork",
    ("compute/job_queue.py", "JobQueue"): "`ComputePool` owns it",
}


def is_unsafe(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call):
        return False
    function = node.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return name in CALLS


def kept(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Yield the class ("" for the module) and the line of what is kept beyond a call."""
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            if any(is_unsafe(part) for part in ast.walk(node.value)):
                yield "", node.lineno
        elif isinstance(node, ast.ClassDef):
            for part in ast.walk(node):
                if (
                    isinstance(part, ast.Assign | ast.AnnAssign)
                    and part.value is not None
                    and any(is_unsafe(inner) for inner in ast.walk(part.value))
                    and "self." in ast.unparse(part)
                ):
                    yield node.name, part.lineno


def test_every_lock_thread_and_client_is_reset_in_a_child() -> None:
    seen = set()
    for file in PACKAGE.rglob("*.py"):
        path = file.relative_to(PACKAGE).as_posix()
        tree = ast.parse(file.read_text(encoding="utf-8"))
        classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
        for name, line in kept(tree):
            where = f"{path}:{line}"
            assert name, f"{where}: let a class own it"
            seen.add((path, name))
            if (path, name) not in EXEMPT:
                methods = {node.name for node in ast.walk(classes[name]) if hasattr(node, "name")}
                assert "reset_after_fork" in methods, f"{where}: {name} is not reset in a child"
                assert f"`{name}`" in process_state.__doc__, f"{where}: {name} is not documented"
    assert seen >= EXEMPT.keys()


def test_what_is_documented_exists() -> None:
    import re

    for name in re.findall(r"^- `(\w+)`", process_state.__doc__, flags=re.MULTILINE):
        text = "".join(file.read_text(encoding="utf-8") for file in PACKAGE.rglob("*.py"))
        assert f"class {name}" in text


def test_importing_it_brings_nothing_heavy() -> None:
    spec = importlib.util.find_spec("sam2_block.process_state")
    assert spec is not None
    tree = ast.parse(Path(str(spec.origin)).read_text(encoding="utf-8"))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported == {"__future__", "collections.abc", "typing", "sam2_block.errors"}


class Closing:
    def __init__(self) -> None:
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


class User:
    pass


@pytest.fixture
def shared() -> SharedObjects:
    return SharedObjects()


def test_one_object_a_key(shared: SharedObjects) -> None:
    assert shared.get("a", Closing) is shared.get("a", Closing)
    assert shared.get("a", Closing) is not shared.get("b", Closing)


def test_the_last_user_closes_it(shared: SharedObjects) -> None:
    first, second, stranger = User(), User(), User()
    made = shared.get("a", Closing, first)
    assert shared.get("a", Closing, second) is made
    for user in (stranger, first, first):
        shared.release(user)
    assert made.closed == 0
    shared.release(second)
    assert made.closed == 1
    assert shared.get("a", Closing, first) is not made


def test_users_that_are_gone_do_not_count(shared: SharedObjects) -> None:
    first, second = User(), User()
    made = shared.get("a", Closing, first)
    shared.get("a", Closing, second)
    del second
    shared.release(first)
    assert made.closed == 1


def test_what_a_step_uses_stays(shared: SharedObjects) -> None:
    user = User()
    made = shared.get("a", Closing, user)
    assert shared.get("a", Closing) is made
    shared.release(user)
    assert made.closed == 0
    assert shared.get("a", Closing) is made
