"""The names of the SAM 2 versions, and where Meta publishes the weights of each.

File names, configurations and repositories are those of the table `HF_MODEL_ID_TO_FILENAMES` in
the `sam2` package (`sam2/build_sam.py`). Nothing heavy is imported here.
"""

from __future__ import annotations

from collections.abc import Sequence
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
"""Versions that the endpoints of current servers can run."""


@dataclass(frozen=True)
class MetaRelease:
    """One checkpoint that Meta published.

    Attributes:
        config_file: Path of the model's configuration inside the `sam2` package.
        checkpoint_file: The file's name, the same on Meta's servers and on the Hub.
        hub_repo: Repository on the Hugging Face Hub that holds the file.
        sha256: Digest of the file, checked when it is downloaded.
    """

    config_file: str
    checkpoint_file: str
    hub_repo: str
    sha256: str


_SIZES = {  # our size -> (in file names, in repository names, in configuration names)
    "tiny": ("tiny", "tiny", "t"),
    "small": ("small", "small", "s"),
    "b_plus": ("base_plus", "base-plus", "b+"),
    "large": ("large", "large", "l"),
}


# For each of Meta's files two or more public sources agree: pages of the Hub that show a file's
# digest (Meta's own repositories for the tiny, small and base plus sizes of SAM 2, copies of the
# files for the others), and the table by which `micro_sam` checks downloads from Meta's servers.
_SHA256 = {
    "sam2_hiera_tiny.pt": "65b50056e05bcb13694174f51bb6da89c894b57b75ccdf0ba6352c597c5d1125",
    "sam2_hiera_small.pt": "95949964d4e548409021d47b22712d5f1abf2564cc0c3c765ba599a24ac7dce3",
    "sam2_hiera_base_plus.pt": "d0bb7f236400a49669ffdd1be617959a8b1d1065081789d7bbff88eded3a8071",
    "sam2_hiera_large.pt": "7442e4e9b732a508f80e141e7c2913437a3610ee0c77381a66658c3a445df87b",
    "sam2.1_hiera_tiny.pt": "7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69",
    "sam2.1_hiera_small.pt": "6d1aa6f30de5c92224f8172114de081d104bbd23dd9dc5c58996f0cad5dc4d38",
    "sam2.1_hiera_base_plus.pt": "a2345aede8715ab1d5d31b4a509fb160c5a4af1970f199d9054ccfb746c004c5",
    "sam2.1_hiera_large.pt": "2647878d5dfa5098f2f8649825738a9345572bae2d4350a2468587ece47dd318",
}


def _release(family: str, size: str) -> MetaRelease:
    in_file, in_repo, in_config = _SIZES[size]
    checkpoint_file = f"{family}_hiera_{in_file}.pt"
    return MetaRelease(
        config_file=f"configs/{family}/{family}_hiera_{in_config}.yaml",
        checkpoint_file=checkpoint_file,
        hub_repo=f"facebook/{family}-hiera-{in_repo}",
        sha256=_SHA256[checkpoint_file],
    )


META_RELEASES: dict[str, MetaRelease] = {
    **{f"hiera_{size}": _release("sam2", size) for size in _SIZES},
    **{f"sam2.1_hiera_{size}": _release("sam2.1", size) for size in _SIZES},
}


def check_version(version: object) -> str:
    """Return `version` if it is one of `NAMES`, else raise.

    Raises:
        OptionError: `version` is not one of `NAMES`.
    """
    if isinstance(version, str) and version in NAMES:
        return version
    raise OptionError(f"version: expected one of {', '.join(NAMES)}; got {version!r}.")


def check_allowed_version(version: object, allowed: Sequence[str]) -> str:
    """Return `version` if the operator allows it, else raise.

    Args:
        version: The requested version.
        allowed: The versions that the operator allows.

    Raises:
        OptionError: `version` is not one of `NAMES`, or the operator does not allow it.
    """
    version = check_version(version)
    if version in allowed:
        return version
    raise OptionError(
        f"version: the operator allows {', '.join(allowed)} here (SAM2_BLOCK_ALLOWED_VERSIONS);"
        f" got {version!r}."
    )


def check_remote_version(version: object) -> str:
    """Return `version` if SAM 2 endpoints offer it, else raise.

    Raises:
        OptionError: `version` is not one of `REMOTE_NAMES`.
    """
    if isinstance(version, str) and version in REMOTE_NAMES:
        return version
    raise OptionError(
        f"version: a SAM 2 endpoint offers {', '.join(REMOTE_NAMES)}; got {version!r}. Choose one"
        " of these, or run it in this process (execution_mode 'local')."
    )
