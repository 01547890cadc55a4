"""What this package shares across a process, and what becomes of it in a forked child.

A forked child has one thread, and a copy of everything else: locks that threads of the parent hold
and that nobody in the child will release, pools without their threads, sockets that the parent
goes on using. gunicorn with `--preload`, `multiprocessing` with `fork` and PyTorch's `DataLoader`
all fork. So every object that holds such a thing registers here, and is reset in the child:

- `ForkGate`: open, and without holders.
- `SharedObjects`, `RecentKeys`: a new lock. What they hold stays, and is reset by itself.
- `SingleFlight`: no call under way; the child makes the value itself.
- `EmbeddingCache`: keeps its embeddings, which are memory of the child, and counts their bytes.
- `ModelRegistry`: keeps the models on the CPU, none in use; those on a GPU are unusable, and go.
- `ComputePool`: no threads and no jobs; the first call starts some.
- `ExpiringSemaphore`: no holders. The parent's requests are not the child's.
- `RemoteService`: no client; the first request opens one. The parent's connections stay open.

Locks are entered by `with` themselves, and not by methods or a `Condition` around them: those are
Python code, in which `KeyboardInterrupt` may come while the lock is held and not yet released.

The settings that `sam2_block` has read from the environment stay as they are.

Native libraries (OpenMP, oneDNN, MKL) have locks of their own, and a module that is being imported
is locked as well. Those cannot be reset. So `FORK_GATE` keeps a fork waiting until no thread of
this package is in such code, and code that is about to begin waits for the fork.
"""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections.abc import Callable, Hashable, Iterator
from typing import Any, Protocol, TypeVar

from sam2_block.errors import ForkError

Shared = TypeVar("Shared", bound="Closeable")

# The longest wait of a fork: more than an encoding or a load from a slow disk takes.
FORK_TIMEOUT_S = 60.0


class Resettable(Protocol):
    """An object that can be made usable in a forked child."""

    def reset_after_fork(self) -> None:
        """Replace locks, threads and sockets. The child has one thread; nothing may block."""


class Closeable(Protocol):
    """An object that holds resources."""

    def close(self) -> None:
        """Release them."""


_registered: weakref.WeakSet[Resettable] = weakref.WeakSet()


def register(shared: Resettable) -> None:
    """Have an object reset in every forked child, for as long as the object exists."""
    _registered.add(shared)


class ForkGate:
    """Keeps forks apart from code that must not be cut in two by one.

    `KeyboardInterrupt` may come at any step, the hooks of a fork included. What the interrupted
    thread leaves behind goes with its frame, or expires, so that nobody waits for ever.
    """

    def __init__(self) -> None:
        self._was_cut = False
        self._start()

    def _start(self) -> None:
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._holders: weakref.WeakSet[_Holder] = weakref.WeakSet()
        self._forking: set[int] = set()  # threads
        self._thread = threading.local()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Delay forks by other threads while the context lasts; wait for forks under way.

        Raises:
            ForkError: This process was itself forked while a thread held the gate.
        """
        if self._was_cut:
            raise ForkError(
                "this process was forked while its parent was loading or running SAM 2, and cannot"
                " run SAM 2. Fork at another time, or start the process by 'spawn' or 'forkserver'."
            )
        if self._is_held_here():
            yield
            return
        holder = _Holder()
        try:
            with self._lock:
                if not self._changed.wait_for(lambda: not self._forking, 2 * FORK_TIMEOUT_S):
                    self._forking.clear()  # of forks whose hooks were interrupted
                self._holders.add(holder)
            self._thread.is_holding = True
            yield
        finally:
            self._thread.is_holding = False
            with self._lock:  # of the child, where the holder itself forked
                self._holders.discard(holder)
                self._changed.notify_all()

    def _is_held_here(self) -> bool:
        return getattr(self._thread, "is_holding", False)

    def before_fork(self) -> None:
        """Wait until nobody holds the gate, or `FORK_TIMEOUT_S`; let nobody in meanwhile."""
        with self._lock:
            self._forking.add(threading.get_ident())
            if not self._is_held_here():  # it would wait for itself
                self._changed.wait_for(lambda: not self._holders, FORK_TIMEOUT_S)

    def after_fork_in_parent(self) -> None:
        """Let threads in again."""
        with self._lock:
            self._forking.discard(threading.get_ident())
            self._changed.notify_all()

    def after_fork_in_child(self) -> None:
        """Start anew, but for the knowledge that a holder was cut off."""
        self._was_cut = self._was_cut or bool(self._holders)
        self._start()


class _Holder:
    """Stands for a context that holds a gate; gone when its frame is."""


class SharedObjects:
    """Objects that all of a process uses: one for each key, made on first use. Thread-safe."""

    def __init__(self) -> None:
        self.reset_after_fork()
        register(self)
        # An object and its users, in one step: a fork or an interruption may come between two.
        self._objects: dict[Hashable, tuple[Any, weakref.WeakSet[Any]]] = {}

    def reset_after_fork(self) -> None:
        """Make a new lock; see `Resettable`."""
        self._lock = threading.RLock()

    def get(self, key: Hashable, make: Callable[[], Shared], user: object = None) -> Shared:
        """Return the object of a key.

        Args:
            key: What identifies it.
            make: Makes it.
            user: Keeps the object until `release`; None keeps it for the rest of the process.
        """
        with self._lock:
            if key not in self._objects:
                self._objects[key] = make(), weakref.WeakSet()
            shared: Shared
            shared, users = self._objects[key]
            users.add(self if user is None else user)
            return shared

    def release(self, user: object) -> None:
        """Close the objects that had this user and no other."""
        unused = []
        with self._lock:
            for key, (shared, users) in list(self._objects.items()):
                if user in users:
                    users.discard(user)
                    if not users:
                        del self._objects[key]
                        unused.append(shared)
        for shared in unused:
            shared.close()


FORK_GATE = ForkGate()
"""The process's gate."""

SHARED = SharedObjects()
"""The process's backends and remote services."""


def _after_fork_in_child() -> None:
    FORK_GATE.after_fork_in_child()
    for shared in list(_registered):
        shared.reset_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=FORK_GATE.before_fork,
        after_in_parent=FORK_GATE.after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
