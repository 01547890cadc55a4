"""`sam2-block models`: lists, locates and downloads model weights."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from sam2_block.cli.console import print_result, table
from sam2_block.errors import CheckpointInvalidError, CheckpointNotFoundError
from sam2_block.settings import LocalSettings, Settings
from sam2_block.versions import DEMO, META_RELEASES, NAMES


def add_parser(commands: Any) -> None:
    """Add `models` to the parsers of the commands."""
    parser = commands.add_parser("models", help="list, find and download model weights")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    for name, action, summary in (
        ("list", _list, "show every version and where its weights are"),
        ("where", _where, "print the path of a version's weights on this machine"),
        ("fetch", _fetch, "download a version's weights from the Hugging Face Hub"),
    ):
        action_parser = actions.add_parser(name, help=summary, description=summary + ".")
        action_parser.set_defaults(command=action)
        if name != "list":
            several = {"nargs": "+"} if name == "fetch" else {}
            action_parser.add_argument("version", choices=NAMES, metavar="VERSION", **several)


def _list(arguments: argparse.Namespace) -> bool:
    settings = Settings.from_environment().local
    rows = [(version, _file_name(version), _location(version, settings)) for version in NAMES]
    return print_result("\n".join(table(("version", "checkpoint", "where"), rows)))


def _where(arguments: argparse.Namespace) -> bool:
    settings = Settings.from_environment().local
    path = _find(arguments.version, settings)
    if path is None:
        raise CheckpointNotFoundError(_missing_message(arguments.version, settings))
    return print_result(str(path))


def _fetch(arguments: argparse.Namespace) -> bool:
    from sam2_block.backends.local.models.checkpoints import fetch_checkpoint

    settings = Settings.from_environment().local
    paths = [fetch_checkpoint(version, settings) for version in arguments.version]
    return print_result("\n".join(map(str, paths)))


def _find(version: str, settings: LocalSettings) -> Path | None:
    from sam2_block.backends.local.models.checkpoints import find_checkpoint

    return find_checkpoint(version, settings)


def _file_name(version: str) -> str:
    from sam2_block.backends.local.models.checkpoints import DEMO_FILE

    return DEMO_FILE if version == DEMO else META_RELEASES[version].checkpoint_file


def _location(version: str, settings: LocalSettings) -> str:
    try:
        path = _find(version, settings)
    except CheckpointInvalidError:
        return f"cannot be used: see `sam2-block models where {version}`"
    if path is None:
        return "not here"
    if version == DEMO:
        return "built in"
    if path.parent == settings.checkpoint_dir:
        return str(path.parent)
    return "Hugging Face cache"


def _missing_message(version: str, settings: LocalSettings) -> str:
    return (
        f"version {version}: the checkpoint {_file_name(version)} is not on this machine, neither"
        f" in the folder SAM2_BLOCK_CHECKPOINT_DIR ({settings.checkpoint_dir or 'not set'}) nor in"
        f" the Hugging Face cache; run `sam2-block models fetch {version}`."
    )
