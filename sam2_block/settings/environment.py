"""All of the operator's settings, and the one reader of the environment."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from sam2_block.errors import SettingsError
from sam2_block.messages.nearest_name import nearest_name
from sam2_block.messages.warn_once import warn_once
from sam2_block.settings import values
from sam2_block.settings.subjects import (
    HOSTED_URL,
    AccessSettings,
    LimitSettings,
    LocalSettings,
    OutputSettings,
    RemoteSettings,
)

logger = logging.getLogger(__name__)

ENV_PREFIX = "SAM2_BLOCK_"


@dataclass(frozen=True)
class Settings:
    """The operator's settings; each is the environment variable `SAM2_BLOCK_<NAME>`.

    Attributes:
        local: SAM 2 in this process.
        output: The form of the masks.
        limits: Maximum boxes and points of one image.
        access: What a workflow may use.
        remote: How requests are sent to a server.
    """

    local: LocalSettings = field(default_factory=LocalSettings)
    output: OutputSettings = field(default_factory=OutputSettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    access: AccessSettings = field(default_factory=AccessSettings)
    remote: RemoteSettings = field(default_factory=RemoteSettings)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read every setting; one that is unset or blank has its default.

        Args:
            environment: Variables to read instead of the process's own.

        Raises:
            SettingsError: A variable has an invalid value.
        """
        environment = os.environ if environment is None else environment
        _warn_of_unknown_variables(environment)
        texts: dict[str, Any] = {}
        for name, (_, metadata) in _SETTINGS.items():
            own = environment.get(ENV_PREFIX + name.upper(), "").strip()
            text = own or environment.get(metadata["also"], "").strip()
            if text:
                texts[name] = text
        if "api_url" not in texts:
            texts["api_url"] = _engine_server(environment)
        return cls().override(**texts)

    def override(self, **changed: Any) -> Settings:
        """Return a copy with some settings replaced, by name; text is read as in the environment.

        Raises:
            SettingsError: A value is invalid, or a name is not a setting.
        """
        unknown = set(changed) - set(_SETTINGS)
        if unknown:
            raise SettingsError(f"no such setting: {', '.join(sorted(unknown))}.")
        by_subject: dict[str, dict[str, Any]] = {}
        for name, value in changed.items():
            subject, metadata = _SETTINGS[name]
            by_subject.setdefault(subject, {})[name] = _read(name, metadata["read"], value)
        return replace(
            self,
            **{
                subject: replace(getattr(self, subject), **read)
                for subject, read in by_subject.items()
            },
        )

    def value_of(self, name: str) -> Any:
        """Return a setting by its name, one of `SETTING_NAMES`."""
        subject, _ = _SETTINGS[name]
        return getattr(getattr(self, subject), name)


# Name of a setting -> the field of `Settings` that holds it, and the metadata of its declaration.
_SETTINGS = {
    setting.name: (subject.name, setting.metadata)
    for subject in fields(Settings)
    for setting in fields(getattr(Settings(), subject.name))
    if setting.metadata
}

SETTING_NAMES = tuple(_SETTINGS)


def _read(name: str, read: values.Reader, value: Any) -> Any:
    variable = ENV_PREFIX + name.upper()
    try:
        return read(value)
    except values.HiddenValueError as error:
        raise SettingsError(f"{variable}: {error}") from None
    except ValueError as error:
        raise SettingsError(f"{variable}: expected {error}; got {value!r}.") from None


# Settings that are constants now. The nearest name of one would mislead.
_REMOVED = frozenset(
    (
        *("CONNECT_TIMEOUT_S", "READ_TIMEOUT_S", "MAX_ATTEMPTS", "BACKOFF_S", "MAX_BACKOFF_S"),
        *("PNG_MAX_PIXELS", "JPEG_QUALITY"),
    )
)


def unknown_variables(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the name of each variable that looks like a setting but is none, and a hint.

    Values are not shown: one may be a key.
    """
    names = [name.upper() for name in SETTING_NAMES]
    known = {ENV_PREFIX + name for name in names}
    for variable in sorted(set(environment) - known):
        if variable.upper().startswith(ENV_PREFIX):
            yield variable[:80], _hint(variable[len(ENV_PREFIX) :].upper(), names)


def _hint(name: str, names: Sequence[str]) -> str:
    if name in _REMOVED:
        return "it was removed, and is a constant now."
    match = nearest_name(name, names)
    return f"did you mean {ENV_PREFIX}{match}?" if match else "docs/settings.md lists the settings."


def _warn_of_unknown_variables(environment: Mapping[str, str]) -> None:
    """Warn of each variable once per process."""
    for variable, hint in unknown_variables(environment):
        warn_once(
            logger,
            ("unknown variable", variable),
            "%s is not a setting and has no effect; %s",
            variable,
            hint,
        )


def _engine_server(environment: Mapping[str, str]) -> str:
    """Return the URL that the engine's own blocks call, from the engine's own variables."""
    if environment.get("WORKFLOWS_REMOTE_API_TARGET", "hosted").strip().lower() == "hosted":
        return HOSTED_URL
    text = environment.get("LOCAL_INFERENCE_API_URL", "").strip() or "http://127.0.0.1:9001"
    try:
        return str(values.url(text))
    except ValueError as error:
        raise SettingsError(f"LOCAL_INFERENCE_API_URL: {error}") from None
