"""Where the backend of a segmenter comes from, so that another process can have one of its own."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field
from typing import Any

from sam2_block.backends.protocol import Backend
from sam2_block.backends.select import ExecutionTarget, choose_backend
from sam2_block.errors import OptionError, SettingsError
from sam2_block.settings import Settings


@dataclass(frozen=True)
class BackendSource:
    """What a backend is made from, apart from the settings in the environment.

    A pickle of it holds no key, since pickles end in files, caches and object stores. It holds
    whether one was given: who unpickles it needs a key in the environment.

    Attributes:
        target: In this process, or on a server.
        api_url: The server, or None for that of the settings.
        api_key: The key, or None for that of the settings.
        given: A backend to use in place of all this.
        lacks_key: A key was given in the process that this was pickled in.
    """

    target: ExecutionTarget = "local"
    api_url: str | None = None
    api_key: str | None = field(default=None, repr=False)
    given: Backend | None = None
    lacks_key: bool = False

    def settings(self) -> Settings:
        """Return the operator's settings, from the environment as it is now.

        Raises:
            SettingsError: A setting cannot be used.
        """
        own = {"api_url": self.api_url, "api_key": self.api_key}
        return Settings.from_environment().override(
            **{name: value for name, value in own.items() if value is not None}
        )

    def open(self, settings: Settings, user: object) -> Backend:
        """Return the backend.

        Args:
            settings: What `settings` returned.
            user: See `process_state.SharedObjects.get`.

        Raises:
            SettingsError: The key did not travel with the pickle, and the environment has none.
        """
        if self.given is not None:
            return self.given
        if self.lacks_key and settings.access.api_key is None:
            raise SettingsError(
                "the api_key of this segmenter stayed in the process that pickled it. Set"
                " ROBOFLOW_API_KEY in the environment of this process, or make the segmenter here."
            )
        # Given here again, so that a server's refusal does not call it the operator's.
        return choose_backend(settings, self.target, api_key=self.api_key, user=user)

    def __reduce__(self) -> tuple[Any, ...]:
        if self.given is not None:
            _check_pickle(self.given)
        lacks_key = self.lacks_key or self.api_key is not None
        return BackendSource, (self.target, self.api_url, None, self.given, lacks_key)


def _check_pickle(backend: Backend) -> None:
    try:
        pickle.dumps(backend)
    except Exception as error:
        raise OptionError(
            f"backend: a {type(backend).__name__} cannot be pickled ({type(error).__name__}:"
            f" {str(error)[:80]}), so this segmenter cannot either. Make one in the other process."
        ) from error
