"""Where the weights of a version are on this machine, and how they get there."""

from __future__ import annotations

import logging
from importlib import resources
from pathlib import Path

from sam2_block.errors import CheckpointNotFoundError
from sam2_block.settings import Settings
from sam2_block.versions import DEMO, META_RELEASES, MetaRelease, check_version

logger = logging.getLogger(__name__)

DEMO_FILE = "demo.safetensors"


def find_checkpoint(version: str, settings: Settings) -> Path | None:
    """Return the checkpoint's file if it is on this machine; nothing is downloaded.

    Looked for, in this order: inside this package (`demo` only), in the operator's folder, in the
    cache of the Hugging Face Hub.

    Raises:
        OptionError: There is no such version.
    """
    version = check_version(version)
    if version == DEMO:
        path = Path(str(resources.files("sam2_block") / "weights" / DEMO_FILE))
        return path if path.is_file() else None
    release = META_RELEASES[version]
    if settings.checkpoint_dir is not None:
        path = settings.checkpoint_dir / release.checkpoint_file
        if path.is_file():
            return path
        if not settings.checkpoint_dir.is_dir():
            logger.warning("SAM2_BLOCK_CHECKPOINT_DIR: there is no folder %s", path.parent)
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(release.hub_repo, release.checkpoint_file)
    return Path(cached) if isinstance(cached, str) else None


def fetch_checkpoint(version: str, settings: Settings) -> Path:
    """Return the checkpoint's file, downloading it from the Hugging Face Hub if it is not here.

    The download is `huggingface_hub`'s own: progress bar, resume, cache, and no request at all
    where `HF_HUB_OFFLINE` is set.

    Raises:
        OptionError: There is no such version.
        CheckpointNotFoundError: It is not on this machine and cannot be downloaded; the message
            says which file, where it was looked for, and how to get it.
    """
    found = find_checkpoint(version, settings)
    if found is not None:
        return found
    if version == DEMO:
        raise CheckpointNotFoundError(
            f"version demo: the file weights/{DEMO_FILE} is missing from the installed package;"
            " install sam2-block again."
        )
    release = META_RELEASES[version]
    from huggingface_hub import hf_hub_download

    logger.info("Fetching %s from %s on the Hub", release.checkpoint_file, release.hub_repo)
    try:
        return Path(hf_hub_download(release.hub_repo, release.checkpoint_file))
    except Exception as error:
        # Whatever keeps the Hub from answering (offline mode, no network, a proxy, a 404, a full
        # disk), the way out is the same, so it is said in one place.
        raise CheckpointNotFoundError(_not_found(version, release, settings, error)) from error


def _not_found(version: str, release: MetaRelease, settings: Settings, error: Exception) -> str:
    folder = settings.checkpoint_dir or "not set"
    return (
        f"version {version}: the checkpoint {release.checkpoint_file} is neither in the folder"
        f" SAM2_BLOCK_CHECKPOINT_DIR ({folder}) nor in the Hugging Face cache, and downloading it"
        f" from {release.hub_repo} failed ({type(error).__name__}); run"
        f" `sam2-block models fetch {version}` while online, or put the file into that folder, or"
        " use version 'demo', which is built in but for demos and tests only."
    )
