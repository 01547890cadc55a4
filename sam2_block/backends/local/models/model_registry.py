"""One loaded model for each (version, device, precision), shared by the whole process.

Operators that give steps different checkpoint folders have one for each of these too.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch

from sam2_block import process_state
from sam2_block.backends.local.devices import choose_compute
from sam2_block.backends.local.memory_errors import naming_memory_errors
from sam2_block.backends.local.models.checkpoints import fetch_checkpoint
from sam2_block.backends.local.models.model_loading import load_model
from sam2_block.backends.local.models.model_size import tensor_bytes
from sam2_block.backends.local.single_flight import SingleFlight
from sam2_block.compute.compute_pool import COMPUTE_POOL
from sam2_block.compute.compute_target import ComputeTarget
from sam2_block.errors import ForkError
from sam2_block.sam2.network import Network, make_network
from sam2_block.settings import LocalSettings
from sam2_block.versions import DEMO, check_version

logger = logging.getLogger(__name__)

Key = tuple[str, str, str, str]
"""Version, device, precision, and folder of the checkpoint."""

# Weights are read, and a model is built, on the CPU, whatever it will run on.
_LOADS_ON = torch.device("cpu")


@dataclass(frozen=True)
class LoadedModel:
    """A model and where it runs.

    Attributes:
        key: What identifies the weights and the arithmetic; part of every embedding's key.
        network: What computes.
        compute: Device and precision.
    """

    key: tuple[str, ...]
    network: Network
    compute: ComputeTarget


@dataclass(eq=False)
class _Entry:
    """A model that is kept.

    Attributes:
        loaded: The model.
        nbytes: Memory that it takes.
        uses: How many calls run on it now.
        users: Who has used it and is not released.
    """

    loaded: LoadedModel
    nbytes: int
    uses: int = 0
    users: weakref.WeakSet[object] = field(default_factory=weakref.WeakSet)


class ModelRegistry:
    """Loads each model on first use and keeps it, within a budget of bytes. Thread-safe.

    Over the budget, the least recently used models are unloaded; never one in use, nor the one
    used last, so that a single model is kept whatever its size.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: OrderedDict[Key, _Entry] = OrderedDict()  # the least recently used first
        self._flights: SingleFlight[Key, _Entry] = SingleFlight()
        self._set_aside: list[_Entry] = []
        process_state.register(self)

    def reset_after_fork(self) -> None:
        """Keep the models on the CPU. The calls that ran on them are not in the child.

        What is on a GPU is the parent's, and freeing it would call its driver: it is set aside.
        """
        self._lock = threading.Lock()
        for key, entry in list(self._entries.items()):
            entry.uses = 0
            if entry.loaded.compute.device.type != "cpu":
                self._set_aside.append(self._entries.pop(key))

    @contextlib.contextmanager
    def use(
        self, version: str, settings: LocalSettings, user: object = None
    ) -> Iterator[LoadedModel]:
        """Lend the model, loading it (and fetching its weights) if need be.

        Args:
            version: One of `sam2_block.versions.NAMES`.
            settings: The operator's settings.
            user: Keeps the model until `release`, or until it is itself gone; None keeps the model
                for the rest of the process. Either way the budget holds.

        Yields:
            The model. It is not unloaded before the context ends.

        Raises:
            Sam2BlockError: The version, the settings or the checkpoint cannot be used.
        """
        version = check_version(version)
        _check_not_forked(settings)
        compute = choose_compute(settings)
        folder = "" if version == DEMO else str(settings.checkpoint_dir)
        key = (version, str(compute.device), compute.precision, folder)
        entry = self._begin(key, user)
        if entry is None:
            loaded = self._flights.run(key, lambda: self._load(key, settings, compute))
            entry = self._begin(key, user, loaded)
        assert entry is not None
        try:
            yield entry.loaded
        finally:
            self._end(key, entry, settings.model_bytes)

    def get(self, version: str, settings: LocalSettings) -> LoadedModel:
        """Return the model; see `use`. It may be unloaded, but whoever holds it can use it."""
        with self.use(version, settings) as loaded:
            return loaded

    def release(self, user: object) -> None:
        """Unload the models that had this user and no other, and are not in use."""
        with self._lock:
            for key, entry in list(self._entries.items()):
                entry.users.discard(user)
                if not entry.users and not entry.uses:
                    self._unload(key)

    def unload(self) -> None:
        """Drop every model; the next call loads anew."""
        with self._lock:
            self._entries.clear()

    def _begin(self, key: Key, user: object, fresh: _Entry | None = None) -> _Entry | None:
        """Count a use of the model that is kept, or of `fresh`, which then is."""
        with self._lock:
            entry = self._entries.get(key, fresh)
            if entry is not None:
                self._entries[key] = entry
                self._entries.move_to_end(key)
                entry.uses += 1
                entry.users.add(self if user is None else user)
            return entry

    def _end(self, key: Key, entry: _Entry, max_bytes: int) -> None:
        with self._lock:
            entry.uses -= 1
            if not entry.users and not entry.uses and self._entries.get(key) is entry:
                self._unload(key)  # it was released meanwhile
            self._shrink(max_bytes)

    def _shrink(self, max_bytes: int, coming_bytes: int = 0) -> None:
        """Unload what is over the budget, or would be with a model that is about to be loaded."""
        keys = list(self._entries)
        for key in keys if coming_bytes else keys[:-1]:
            if sum(entry.nbytes for entry in self._entries.values()) + coming_bytes <= max_bytes:
                return
            if not self._entries[key].uses:
                self._unload(key)

    def _unload(self, key: Key) -> None:
        entry = self._entries.pop(key)
        logger.info("SAM 2 %s unloaded from %s: %d MiB", key[0], key[1], entry.nbytes // 2**20)

    def _load(self, key: Key, settings: LocalSettings, compute: ComputeTarget) -> _Entry:
        version = key[0]
        with self._lock:
            if key in self._entries:  # another flight may have landed since the first look
                return self._entries[key]
        start = time.perf_counter()
        if version != DEMO:
            # A download is nothing that a fork should wait for, but the import of the Hub is.
            with process_state.FORK_GATE.held():
                import huggingface_hub.file_download  # noqa: F401
        checkpoint = fetch_checkpoint(version, settings)
        identity, file_bytes = _identity(checkpoint)
        with self._lock:
            self._shrink(settings.model_bytes, file_bytes)
        with naming_memory_errors(version, compute):
            model = COMPUTE_POOL.run(
                _LOADS_ON, lambda: load_model(version, checkpoint, compute.device)
            )
            network = COMPUTE_POOL.run(compute.device, lambda: make_network(model, compute))
        logger.info(
            "SAM 2 %s loaded on %s in %s in %.1f s",
            version,
            compute.device,
            compute.precision,
            time.perf_counter() - start,
        )
        if version == DEMO:
            logger.warning(
                "SAM 2 version 'demo' is a small model for demos and tests, not for real work:"
                " use 'hiera_tiny' or larger, and `sam2-block models fetch hiera_tiny` to get"
                " Meta's weights."
            )
        elif compute.device.type == "cpu":
            logger.info("SAM 2 %s runs on the CPU: expect seconds for a new image.", version)
        entry = _Entry(LoadedModel((*key, identity), network, compute), tensor_bytes(network))
        with self._lock:
            self._entries[key] = entry
        return entry


def _identity(checkpoint: Path) -> tuple[str, int]:
    """Return what tells a checkpoint from another of the same name, and its size in bytes.

    A model that is loaded again may come from a file that was replaced meanwhile. Embeddings that
    were made with the old weights must not be used with the new ones.
    """
    try:
        status = checkpoint.stat()
    except OSError:  # reading the file says why
        return "", 0
    return f"{status.st_mtime_ns}-{status.st_size}", status.st_size


def _check_not_forked(settings: LocalSettings) -> None:
    """Refuse CUDA where the parent has used it: its driver does not work in a forked child.

    PyTorch itself would say only that there is no CUDA device, and `auto` would take the CPU.
    """
    if settings.device != "cpu" and torch.cuda._is_in_bad_fork() and _cuda_devices():
        raise ForkError(
            "CUDA cannot be used in a forked process whose parent has used it. Start the process"
            " by 'spawn' or 'forkserver', or set SAM2_BLOCK_DEVICE=cpu."
        )


@functools.cache
def _cuda_devices() -> int:
    # PyTorch says that it is in a bad fork wherever the parent only looked for CUDA.
    return torch.cuda.device_count()


MODELS = ModelRegistry()
"""The process's models."""
