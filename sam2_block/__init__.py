"""A detector's boxes become SAM 2 masks: blocks for the Roboflow Workflows engine.

Set `WORKFLOWS_PLUGINS=sam2_block` and the engine loads this module as a plugin. Importing it is
cheap: the engine, torch and `sam2` are imported only when a block is requested. There are two
reasons: an ImportError in one plugin fails every workflow on a server, and the engine's
configuration is frozen by its first import, which must be the host's.

Without the engine, use `sam2_block.Segmenter`.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sam2_block._version import __version__
from sam2_block.blocks import PREDICTIONS_KIND_NAME
from sam2_block.errors import SettingsError
from sam2_block.process_state import FORK_GATE
from sam2_block.settings import SETTING_NAMES, Settings

if TYPE_CHECKING:
    from sam2_block.segmenter import Segmenter as Segmenter

__all__ = [
    "KINDS_SERIALIZERS",
    "REGISTERED_INITIALIZERS",
    "Segmenter",
    "__version__",
    "load_blocks",
    "load_kinds",
]

logging.getLogger(__name__).addHandler(logging.NullHandler())


def load_blocks() -> list[type[Any]]:
    """Return the block classes; called by the engine."""
    from sam2_block.blocks.embed.v1 import EmbedBlockV1
    from sam2_block.blocks.segment.v1 import SegmentBlockV1

    return [SegmentBlockV1, EmbedBlockV1]


def load_kinds() -> list[Any]:
    """Return the kinds that this plugin adds; called by the engine."""
    from sam2_block.blocks.engine.kinds import PREDICTIONS_KIND

    return [PREDICTIONS_KIND]


def _serialise_predictions(predictions: Any) -> dict[str, Any]:
    from sam2_block.blocks.engine.representation import serialise_predictions

    return serialise_predictions(predictions)


# Only this plugin's kind: an entry for one of the engine's kinds would apply to every workflow.
KINDS_SERIALIZERS: dict[str, Callable[[Any], Any]] = {PREDICTIONS_KIND_NAME: _serialise_predictions}


@functools.cache
def _settings() -> Settings:
    try:
        return Settings.from_environment()
    except SettingsError as error:
        from sam2_block.blocks.engine.declarations import engine_error

        raise engine_error(error) from error


def _setting(name: str) -> Any:
    return _settings().value_of(name)


# The engine calls these once per step. A caller's own init parameter `sam2_block.<name>` wins.
REGISTERED_INITIALIZERS: dict[str, Callable[[], Any]] = {
    **{name: functools.partial(_setting, name) for name in SETTING_NAMES},
    "backend": lambda: None,
}


def __dir__() -> list[str]:
    return sorted(__all__)


def __getattr__(name: str) -> Any:
    if name == "Segmenter":
        with FORK_GATE.held():
            from sam2_block.segmenter import Segmenter

        return Segmenter
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
