"""One loaded model for each (version, device, precision), shared by the whole process.

Operators that give steps different checkpoint folders have one for each of these too.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass

from sam2_block.backends.local.checkpoints import fetch_checkpoint
from sam2_block.backends.local.compute_thread import COMPUTE_THREAD
from sam2_block.backends.local.devices import Compute, choose_compute
from sam2_block.backends.local.memory_errors import naming_memory_errors
from sam2_block.backends.local.model import load_model
from sam2_block.backends.local.network import Network, make_network
from sam2_block.backends.local.single_flight import SingleFlight
from sam2_block.settings import Settings
from sam2_block.versions import DEMO, check_version

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoadedModel:
    """A model and where it runs.

    Attributes:
        key: What identifies the weights and the arithmetic; part of every embedding's key.
        network: What computes.
        compute: Device and precision.
    """

    key: tuple[str, str, str, str]
    network: Network
    compute: Compute


class ModelRegistry:
    """Loads each model on first use and keeps it. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._models: dict[tuple[str, str, str, str], LoadedModel] = {}
        self._flights: SingleFlight[tuple[str, str, str, str], LoadedModel] = SingleFlight()

    def get(self, version: str, settings: Settings) -> LoadedModel:
        """Return the model, loading it (and fetching its weights) if need be.

        Raises:
            Sam2BlockError: The version, the settings or the checkpoint cannot be used.
        """
        version = check_version(version)
        compute = choose_compute(settings)
        folder = "" if version == DEMO else str(settings.checkpoint_dir)
        key = (version, str(compute.device), compute.precision, folder)
        with self._lock:
            loaded = self._models.get(key)
        if loaded is not None:
            return loaded
        return self._flights.run(key, lambda: self._load(key, settings, compute))

    def unload(self) -> None:
        """Drop every model; the next call loads anew."""
        with self._lock:
            self._models.clear()

    def _load(
        self, key: tuple[str, str, str, str], settings: Settings, compute: Compute
    ) -> LoadedModel:
        version = key[0]
        with self._lock:
            if key in self._models:  # another flight may have landed since the first look
                return self._models[key]
        start = time.perf_counter()
        checkpoint = fetch_checkpoint(version, settings)
        with naming_memory_errors(version, compute):
            network = COMPUTE_THREAD.run(
                compute.device,
                lambda: make_network(load_model(version, checkpoint, compute.device), compute),
            )
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
        loaded = LoadedModel(key, network, compute)
        with self._lock:
            self._models[key] = loaded
        return loaded


MODELS = ModelRegistry()
"""The process's models."""
