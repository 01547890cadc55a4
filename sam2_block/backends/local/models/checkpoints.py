"""Find or download the checkpoint of a version."""

from __future__ import annotations

import errno
import logging
import os
import stat
from importlib import resources
from pathlib import Path

from sam2_block.backends.local.models import hub
from sam2_block.errors import (
    CheckpointError,
    CheckpointInvalidError,
    CheckpointNotFoundError,
    SettingsError,
)
from sam2_block.settings import LocalSettings
from sam2_block.versions import DEMO, META_RELEASES, MetaRelease, check_version

logger = logging.getLogger(__name__)

DEMO_FILE = "demo.safetensors"

# Of a path in a message: longer than for other values, as the operator chose it and needs it.
_MAX_PATH_LENGTH = 200


def find_checkpoint(version: str, settings: LocalSettings) -> Path | None:
    """Return the path of the checkpoint if it is on this machine; download nothing.

    The locations, in this order: inside this package (`demo` only), the operator's folder, the
    cache of the Hugging Face Hub.

    Raises:
        OptionError: There is no such version.
        SettingsError: The operator's folder is not accessible.
        CheckpointInvalidError: The path in that folder is not a regular file.
    """
    version = check_version(version)
    if settings.checkpoint_file is not None:
        return Path(settings.checkpoint_file)
    if version == DEMO:
        path = Path(str(resources.files("sam2_block") / "weights" / DEMO_FILE))
        return path if path.is_file() else None
    release = META_RELEASES[version]
    if settings.checkpoint_dir is not None:
        path = settings.checkpoint_dir / release.checkpoint_file
        if _is_checkpoint(path, version):
            return path
    return hub.cached_file(release)


def fetch_checkpoint(version: str, settings: LocalSettings) -> Path:
    """Return the path of the checkpoint; download it from the Hugging Face Hub if needed.

    Raises:
        OptionError: There is no such version.
        SettingsError: The operator's folder is not accessible.
        CheckpointNotFoundError: The file is not on this machine and cannot be downloaded; the
            message names the file, the locations searched, and how to get it.
        CheckpointInvalidError: The file in the operator's folder is not a regular file, or the
            downloaded one is not the file that Meta published.
    """
    path = find_checkpoint(version, settings)
    if path is not None:
        return path
    if version == DEMO:
        raise CheckpointNotFoundError(
            f"version demo: the file weights/{DEMO_FILE} is missing from the installed package;"
            " install sam2-block again."
        )
    release = META_RELEASES[version]
    logger.info("Fetching %s from %s on the Hub", release.checkpoint_file, release.hub_repo)
    try:
        return hub.download(release)
    except CheckpointError as error:
        raise CheckpointInvalidError(f"version {version}: {error}") from error
    except Exception as error:
        # The remedies are the same for every failed download, so one message lists them.
        message = _not_found_message(version, release, settings, error)
        raise CheckpointNotFoundError(message) from error


def _is_checkpoint(path: Path, version: str) -> bool:
    """Whether a checkpoint is in the operator's folder.

    Raises:
        SettingsError: The folder is not accessible.
        CheckpointInvalidError: The path is a folder, a broken link, or not a regular file.
    """
    folder = f"SAM2_BLOCK_CHECKPOINT_DIR ({_shortened(path.parent)})"
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        code = getattr(error, "errno", None)
        if code in (errno.ENOENT, errno.ENOTDIR):
            if os.path.islink(path):  # noqa: PTH114 - `Path.is_symlink` raises where this does not
                raise CheckpointInvalidError(
                    f"version {version}: {path.name} in {folder} is a link to a file that does not"
                    " exist. Repair the link, or remove it."
                ) from None
            if not path.parent.is_dir():
                logger.warning(
                    "SAM2_BLOCK_CHECKPOINT_DIR: there is no folder %s", _shortened(path.parent)
                )
            return False
        reason = getattr(error, "strerror", None) or error
        raise SettingsError(f"{folder}: expected an accessible folder; got: {reason}.") from error
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
        raise CheckpointInvalidError(
            f"version {version}: {path.name} in {folder} is {kind}; expected the checkpoint's file."
        )
    return True


def _shortened(path: Path) -> str:
    text = str(path)
    return text if len(text) <= _MAX_PATH_LENGTH else f"{text[: _MAX_PATH_LENGTH - 3]}..."


def _not_found_message(
    version: str, release: MetaRelease, settings: LocalSettings, error: Exception
) -> str:
    folder = _shortened(settings.checkpoint_dir) if settings.checkpoint_dir else "not set"
    return (
        f"version {version}: the checkpoint {release.checkpoint_file} is neither in the folder"
        f" SAM2_BLOCK_CHECKPOINT_DIR ({folder}) nor in the Hugging Face cache, and downloading it"
        f" from {release.hub_repo} failed: {hub.failure_reason(error)}. Run"
        f" `sam2-block models fetch {version}` while online, or put the file into that folder, or"
        " use version 'demo', which is built in but for demos and tests only."
    )
