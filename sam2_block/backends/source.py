"""The source of a segmenter's backend, from which another process can open its own."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sam2_block.backends.protocol import Backend
from sam2_block.backends.select import ExecutionTarget, choose_backend
from sam2_block.errors import CheckpointNotFoundError, OptionError, SettingsError
from sam2_block.settings import Settings


@dataclass(frozen=True)
class BackendSource:
    """Everything needed to open a backend, except the settings in the environment.

    A pickle holds no key, since pickles are stored in files, caches and object stores. It records
    whether a key was given: the process that unpickles it then needs a key in its environment.

    Attributes:
        target: Where SAM 2 runs: in this process, or on a server.
        api_url: The server, or None for the one in the settings.
        api_key: The key, or None for the one in the settings.
        backend: A backend to use instead of opening one.
        lacks_key: Whether a key was given in the process that pickled this source.
        device: The device, or None for the one in the settings.
        checkpoint: A file to load instead of Meta's weights.
    """

    target: ExecutionTarget = "local"
    api_url: str | None = None
    api_key: str | None = field(default=None, repr=False)
    backend: Backend | None = None
    lacks_key: bool = False
    device: str | None = None
    checkpoint: str | None = None

    def settings(self) -> Settings:
        """Return the operator's settings from the current environment, with this server and key.

        Raises:
            SettingsError: A setting cannot be used.
        """
        overrides = {"api_url": self.api_url, "api_key": self.api_key, "device": self.device}
        settings = Settings.from_environment().override(
            **{name: value for name, value in overrides.items() if value is not None}
        )
        if self.checkpoint is None:
            return settings
        return replace(settings, local=replace(settings.local, checkpoint_file=self.checkpoint))

    def _check(self, settings: Settings) -> None:
        """Check the device and the checkpoint that were given, before anything is loaded.

        Raises:
            SettingsError: The device is not available.
            CheckpointNotFoundError: The checkpoint file does not exist.
        """
        if self.checkpoint is not None and not Path(self.checkpoint).is_file():
            raise CheckpointNotFoundError(
                f"checkpoint: there is no file {self.checkpoint}. Expected a .pt file with weights"
                " of SAM 2."
            )
        if self.device is not None:
            from sam2_block.backends.local.devices import choose_compute

            choose_compute(settings.local)

    def description(self) -> str:
        """Return where SAM 2 runs, in words, without a key."""
        if self.backend is not None:
            return f"backend {type(self.backend).__name__}"
        if self.target == "remote":
            return f"on {self.settings().access.api_url}"
        device = self.settings().local.device
        weights = f", weights {self.checkpoint}" if self.checkpoint else ""
        return f"in this process, device {device}{weights}"

    def open(self, settings: Settings, user: object) -> Backend:
        """Return the backend.

        Args:
            settings: What `settings` returned.
            user: See `process_state.SharedObjects.get`.

        Raises:
            SettingsError: The pickle held no key, and the environment has none; or the device that
                was given is not available.
            CheckpointNotFoundError: The checkpoint file that was given does not exist.
        """
        if self.backend is not None:
            return self.backend
        if self.lacks_key and settings.access.api_key is None:
            raise SettingsError(
                "the api_key of this segmenter is not part of its pickle. Set ROBOFLOW_API_KEY in"
                " the environment of this process, or create the segmenter here."
            )
        self._check(settings)
        # Passed again, so that error messages do not call this key the operator's.
        return choose_backend(settings, self.target, api_key=self.api_key, user=user)

    def __reduce__(self) -> tuple[Any, ...]:
        if self.backend is not None:
            _check_pickle(self.backend)
        lacks_key = self.lacks_key or self.api_key is not None
        return BackendSource, (
            self.target,
            self.api_url,
            None,
            self.backend,
            lacks_key,
            self.device,
            self.checkpoint,
        )


def _check_pickle(backend: Backend) -> None:
    try:
        pickle.dumps(backend)
    except Exception as error:
        raise OptionError(
            f"backend: a {type(backend).__name__} cannot be pickled ({type(error).__name__}:"
            f" {str(error)[:80]}), so neither can this segmenter. Create one in the other process."
        ) from error
