"""Settings of the operator of a process, as opposed to options of a workflow."""

from __future__ import annotations

from sam2_block.settings.environment import ENV_PREFIX, SETTING_NAMES, Settings, unknown_variables
from sam2_block.settings.subjects import (
    HOSTED_URL,
    PRECISIONS,
    AccessSettings,
    LimitSettings,
    LocalSettings,
    MaskForm,
    OutputSettings,
    RemoteSettings,
)

__all__ = [
    "ENV_PREFIX",
    "HOSTED_URL",
    "PRECISIONS",
    "SETTING_NAMES",
    "AccessSettings",
    "LimitSettings",
    "LocalSettings",
    "MaskForm",
    "OutputSettings",
    "RemoteSettings",
    "Settings",
    "unknown_variables",
]
