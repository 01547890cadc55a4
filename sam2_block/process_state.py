"""State that this package shares across a process, and its reset in a forked child.

A forked child has one thread, and a copy of everything else: locks that threads of the parent hold
and that no thread of the child will release, pools without their threads, and sockets that the
parent still uses. gunicorn with `--preload`, `multiprocessing` with `fork` and PyTorch's
`DataLoader` all fork. Every object that holds such a resource therefore registers here, and is
reset in the child:

- `ForkGate`: open, and without holders.
- `SharedObjects`, `RecentKeys`: a new lock. Their contents stay, and are reset separately.
- `SingleFlight`: no call in progress; the child makes the value itself.
- `EmbeddingCache`: its embeddings stay, as the child has a copy; their bytes are recounted.
- `ModelRegistry`: models on the CPU stay, not in use; those on a GPU are unusable, and set aside.
- `ComputePool`: no threads and no jobs; the first call starts threads.
- `ExpiringSemaphore`: no holders. The parent's requests are not the child's.
- `RemoteService`: no client; the first request opens one. The parent's connections stay open.

Code acquires locks directly, with `with`, and not through methods or a `Condition`: those are
Python code, in which `KeyboardInterrupt` may occur while the lock is held and not yet released.
`ExpiringSemaphore` has a `Condition`; its permits expire.

The settings that `sam2_block` has read from the environment do not change.

Native libraries (OpenMP, oneDNN, MKL) have their own locks, and a module is locked during its
import. These locks cannot be reset. `FORK_GATE` therefore delays a fork until no thread of this
package runs such code, and delays such code while a fork is in progress.
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

# Maximum wait before a fork: longer than an encoding, or than loading a model from a slow disk.
FORK_TIMEOUT_S = 60.0


class Resettable(Protocol):
    """An object that can be made usable in a forked child."""

    def reset_after_fork(self) -> None:
        """Replace locks, threads and sockets. The child has one thread; nothing may block."""


class Closeable(Protocol):
    """An object that holds resources."""

    def close(self) -> None:
        """Release the resources."""


_registered: weakref.WeakSet[Resettable] = weakref.WeakSet()


def register(shared: Resettable) -> None:
    """Register an object to be reset in every forked child, as long as the object exists."""
    _registered.add(shared)


class ForkGate:
    """Prevents forks while other threads run code that a fork must not interrupt.

    `KeyboardInterrupt` may occur at any step, even in the hooks of a fork. The state of an
    interrupted thread is freed with its frame, or expires, so that no thread waits forever.
    """

    def __init__(self) -> None:
        self._was_forked_while_held = False
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._holders: weakref.WeakSet[_Holder] = weakref.WeakSet()
        self._forking: set[int] = set()  # identifiers of threads
        self._thread_state = threading.local()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Delay forks by other threads until the context ends; wait for forks in progress.

        Raises:
            ForkError: This process was itself forked while a thread of its parent held the gate.
        """
        if self._was_forked_while_held:
            raise ForkError(
                "this process was forked while its parent was loading or running SAM 2, and cannot"
                " run SAM 2. Fork at another time, or start the process by 'spawn' or 'forkserver'."
            )
        if self._is_held_by_this_thread():
            yield
            return
        holder = _Holder()
        try:
            with self._lock:
                if not self._changed.wait_for(lambda: not self._forking, 2 * FORK_TIMEOUT_S):
                    self._forking.clear()  # of forks whose hooks were interrupted
                self._holders.add(holder)
            self._thread_state.is_holding = True
            yield
        finally:
            self._thread_state.is_holding = False
            with self._lock:  # the child's new lock, if the holder itself forked
                self._holders.discard(holder)
                self._changed.notify_all()

    def _is_held_by_this_thread(self) -> bool:
        return getattr(self._thread_state, "is_holding", False)

    def before_fork(self) -> None:
        """Close the gate, and wait until it has no holders, for at most `FORK_TIMEOUT_S`."""
        with self._lock:
            self._forking.add(threading.get_ident())
            if not self._is_held_by_this_thread():  # otherwise it would wait for itself
                self._changed.wait_for(lambda: not self._holders, FORK_TIMEOUT_S)

    def after_fork_in_parent(self) -> None:
        """Open the gate again."""
        with self._lock:
            self._forking.discard(threading.get_ident())
            self._changed.notify_all()

    def after_fork_in_child(self) -> None:
        """Reset the gate, but record whether the fork interrupted a holder."""
        self._was_forked_while_held = self._was_forked_while_held or bool(self._holders)
        self._reset()


class _Holder:
    """Represents a context that holds a gate; freed with the context's frame."""


class SharedObjects:
    """Objects shared by the whole process: one per key, made on first use. Thread-safe."""

    def __init__(self) -> None:
        self.reset_after_fork()
        register(self)
        # One value holds both an object and its users, as a fork or an interruption may come
        # between two assignments.
        self._objects: dict[Hashable, tuple[Any, weakref.WeakSet[Any]]] = {}

    def reset_after_fork(self) -> None:
        """Make a new lock; see `Resettable`."""
        self._lock = threading.RLock()

    def get(self, key: Hashable, make: Callable[[], Shared], user: object = None) -> Shared:
        """Return the object of a key.

        Args:
            key: Identifies the object.
            make: Makes the object.
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
        """Close the objects that have this user and no other."""
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
