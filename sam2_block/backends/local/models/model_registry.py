"""One loaded model for each (version, device, precision), shared by the whole process.

Settings with different checkpoint folders load separate models.
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
from sam2_block.backends.local.model_memory_errors import converting_memory_errors
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

# Models are read and built in the CPU's compute pool, even those that run on another device.
_LOADING_DEVICE = torch.device("cpu")


@dataclass(frozen=True)
class LoadedModel:
    """A model, ready to run on a device.

    Attributes:
        key: Identifies the weights and the arithmetic; part of every embedding's key.
        network: The model.
        compute: Its device and precision.
    """

    key: tuple[str, ...]
    network: Network
    compute: ComputeTarget


@dataclass(eq=False)
class _Entry:
    """An entry of the registry.

    Attributes:
        loaded: The model.
        nbytes: Bytes of memory that it takes.
        uses: How many calls are running on it.
        users: The users of `ModelRegistry.use` that have not been released.
    """

    loaded: LoadedModel
    nbytes: int
    uses: int = 0
    users: weakref.WeakSet[object] = field(default_factory=weakref.WeakSet)


class ModelRegistry:
    """Loads each model on first use and shares it, within a budget of bytes. Thread-safe.

    Above the budget, the least recently used models are unloaded. A model in use and the most
    recently used one never are, so that a single model stays loaded even if it exceeds the budget.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: OrderedDict[Key, _Entry] = OrderedDict()  # the least recently used first
        self._flights: SingleFlight[Key, _Entry] = SingleFlight()
        self._inherited: list[_Entry] = []
        process_state.register(self)

    def reset_after_fork(self) -> None:
        """Keep the models on the CPU, with no calls running: those are not in the child.

        Models on a GPU belong to the parent. They are retained unused in `_inherited`, since
        freeing them would call the GPU's driver.
        """
        self._lock = threading.Lock()
        for key, entry in list(self._entries.items()):
            entry.uses = 0
            if entry.loaded.compute.device.type != "cpu":
                self._inherited.append(self._entries.pop(key))

    @contextlib.contextmanager
    def use(
        self, version: str, settings: LocalSettings, user: object = None
    ) -> Iterator[LoadedModel]:
        """Lend the model, loading it (and fetching its weights) if need be.

        Args:
            version: One of `sam2_block.versions.NAMES`.
            settings: The operator's settings.
            user: Keeps the model loaded until `release`, or until the user is garbage-collected;
                None keeps it for the rest of the process. The budget applies in either case.

        Yields:
            The model. It is not unloaded before the context ends.

        Raises:
            Sam2BlockError: The version, the settings or the checkpoint cannot be used.
        """
        version = check_version(version)
        _check_not_forked(settings)
        compute = choose_compute(settings)
        folder = "" if version == DEMO else str(settings.checkpoint_dir)
        source = settings.checkpoint_file or folder
        key = (version, str(compute.device), compute.precision, source)
        entry = self._begin_use(key, user)
        if entry is None:
            new = self._flights.run(key, lambda: self._load(key, settings, compute))
            entry = self._begin_use(key, user, new)
        assert entry is not None
        try:
            yield entry.loaded
        finally:
            self._end_use(key, entry, settings.model_bytes)

    def get(self, version: str, settings: LocalSettings) -> LoadedModel:
        """Return the model; see `use`. It stays usable even after the registry unloads it."""
        with self.use(version, settings) as loaded:
            return loaded

    def release(self, user: object) -> None:
        """Remove a user; unload the models that then have no user and are not in use."""
        with self._lock:
            for key, entry in list(self._entries.items()):
                entry.users.discard(user)
                if not entry.users and not entry.uses:
                    self._unload(key)

    def unload(self) -> None:
        """Drop every model; the next call loads it again."""
        with self._lock:
            self._entries.clear()

    def _begin_use(self, key: Key, user: object, new: _Entry | None = None) -> _Entry | None:
        """Count a use of the key's entry, which is `new` if there is none; None without either."""
        with self._lock:
            entry = self._entries.get(key, new)
            if entry is not None:
                self._entries[key] = entry
                self._entries.move_to_end(key)
                entry.uses += 1
                entry.users.add(self if user is None else user)
            return entry

    def _end_use(self, key: Key, entry: _Entry, max_bytes: int) -> None:
        with self._lock:
            entry.uses -= 1
            if not entry.users and not entry.uses and self._entries.get(key) is entry:
                self._unload(key)  # its users were released during the call
            self._shrink(max_bytes)

    def _shrink(self, max_bytes: int, incoming_bytes: int = 0) -> None:
        """Unload models until the rest, and one that is about to be loaded, fit the budget."""
        keys = list(self._entries)
        for key in keys if incoming_bytes else keys[:-1]:
            if sum(entry.nbytes for entry in self._entries.values()) + incoming_bytes <= max_bytes:
                return
            if not self._entries[key].uses:
                self._unload(key)

    def _unload(self, key: Key) -> None:
        entry = self._entries.pop(key)
        logger.info("SAM 2 %s unloaded from %s: %d MiB", key[0], key[1], entry.nbytes // 2**20)

    def _load(self, key: Key, settings: LocalSettings, compute: ComputeTarget) -> _Entry:
        version = key[0]
        with self._lock:
            if key in self._entries:  # another thread may have loaded it since the first lookup
                return self._entries[key]
        start = time.perf_counter()
        if version != DEMO:
            # A fork must not wait for a download, but must wait for the import of the Hub's client.
            with process_state.FORK_GATE.held():
                import huggingface_hub.file_download  # noqa: F401
        checkpoint = fetch_checkpoint(version, settings)
        identity, file_bytes = _identity(checkpoint)
        with self._lock:
            self._shrink(settings.model_bytes, file_bytes)
        with converting_memory_errors(version, compute):
            model = COMPUTE_POOL.run(
                _LOADING_DEVICE, lambda: load_model(version, checkpoint, compute.device)
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
    """Return an identifier that changes when the file is replaced, and its size in bytes.

    The file may be replaced before the model is loaded again. Embeddings that were made with the
    old weights must not be used with the new ones.
    """
    try:
        status = checkpoint.stat()
    except OSError:  # reading the file raises the error that users see
        return "", 0
    return f"{status.st_mtime_ns}-{status.st_size}", status.st_size


def _check_not_forked(settings: LocalSettings) -> None:
    """Reject CUDA if the parent has used it: its driver does not work in a forked child.

    PyTorch itself would only report that there is no CUDA device, and `auto` would choose the CPU.
    """
    if settings.device != "cpu" and torch.cuda._is_in_bad_fork() and _cuda_devices():
        raise ForkError(
            "CUDA cannot be used in a forked process whose parent has used it. Start the process"
            " by 'spawn' or 'forkserver', or set SAM2_BLOCK_DEVICE=cpu."
        )


@functools.cache
def _cuda_devices() -> int:
    # `_is_in_bad_fork` is also true if the parent only checked for CUDA and found no device.
    return torch.cuda.device_count()


MODELS = ModelRegistry()
"""The process's models."""
