"""The SAM 2 versions that can be named, and where Meta publishes the weights of each.

File names, configurations and repositories are those of the table `HF_MODEL_ID_TO_FILENAMES` in
the `sam2` package (`sam2/build_sam.py`). Nothing heavy is imported here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from sam2_block.errors import OptionError

VersionName = Literal[
    "demo",
    "hiera_tiny",
    "hiera_small",
    "hiera_b_plus",
    "hiera_large",
    "sam2.1_hiera_tiny",
    "sam2.1_hiera_small",
    "sam2.1_hiera_b_plus",
    "sam2.1_hiera_large",
]

DEMO: VersionName = "demo"
DEFAULT: VersionName = "hiera_tiny"
NAMES: tuple[VersionName, ...] = get_args(VersionName)

REMOTE_NAMES: tuple[VersionName, ...] = (
    "hiera_tiny",
    "hiera_small",
    "hiera_b_plus",
    "hiera_large",
)
"""What the endpoints of today's servers can run."""


@dataclass(frozen=True)
class MetaRelease:
    """One checkpoint that Meta published.

    Attributes:
        config_file: Path of the model's configuration inside the `sam2` package.
        checkpoint_file: The file's name, the same on Meta's servers and on the Hub.
        hub_repo: Repository on the Hugging Face Hub that holds the file.
    """

    config_file: str
    checkpoint_file: str
    hub_repo: str


_SIZES = {  # our size -> (in file names, in repository names, in configuration names)
    "tiny": ("tiny", "tiny", "t"),
    "small": ("small", "small", "s"),
    "b_plus": ("base_plus", "base-plus", "b+"),
    "large": ("large", "large", "l"),
}


def _release(family: str, size: str) -> MetaRelease:
    in_file, in_repo, in_config = _SIZES[size]
    return MetaRelease(
        config_file=f"configs/{family}/{family}_hiera_{in_config}.yaml",
        checkpoint_file=f"{family}_hiera_{in_file}.pt",
        hub_repo=f"facebook/{family}-hiera-{in_repo}",
    )


META_RELEASES: dict[str, MetaRelease] = {
    **{f"hiera_{size}": _release("sam2", size) for size in _SIZES},
    **{f"sam2.1_hiera_{size}": _release("sam2.1", size) for size in _SIZES},
}


def check_version(version: object) -> str:
    """Return `version` if it can be named, else raise.

    Raises:
        OptionError: `version` is none of `NAMES`.
    """
    if isinstance(version, str) and version in NAMES:
        return version
    raise OptionError(f"version: expected one of {', '.join(NAMES)}; got {version!r}.")


def check_remote_version(version: object) -> str:
    """Return `version` if SAM 2 endpoints offer it, else raise.

    Raises:
        OptionError: `version` is none of `REMOTE_NAMES`.
    """
    if isinstance(version, str) and version in REMOTE_NAMES:
        return version
    raise OptionError(
        f"version: a SAM 2 endpoint offers {', '.join(REMOTE_NAMES)}; got {version!r}. Choose one"
        " of these, or run it in this process (execution_mode 'local')."
    )
