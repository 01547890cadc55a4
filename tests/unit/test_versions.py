from __future__ import annotations

import re
from importlib import resources

import pytest

from sam2_block import versions
from sam2_block.errors import OptionError

SIZES = ("tiny", "small", "b_plus", "large")


def test_names_are_the_demo_and_both_families_in_four_sizes() -> None:
    expected = ["demo", *[f"hiera_{s}" for s in SIZES], *[f"sam2.1_hiera_{s}" for s in SIZES]]
    assert list(versions.NAMES) == expected
    assert set(versions.META_RELEASES) == set(versions.NAMES) - {"demo"}
    assert versions.DEFAULT in versions.META_RELEASES


@pytest.mark.parametrize(
    ("version", "config_file", "checkpoint_file", "hub_repo"),
    [
        (
            "hiera_tiny",
            "configs/sam2/sam2_hiera_t.yaml",
            "sam2_hiera_tiny.pt",
            "facebook/sam2-hiera-tiny",
        ),
        (
            "hiera_b_plus",
            "configs/sam2/sam2_hiera_b+.yaml",
            "sam2_hiera_base_plus.pt",
            "facebook/sam2-hiera-base-plus",
        ),
        (
            "sam2.1_hiera_large",
            "configs/sam2.1/sam2.1_hiera_l.yaml",
            "sam2.1_hiera_large.pt",
            "facebook/sam2.1-hiera-large",
        ),
    ],
)
def test_release(version: str, config_file: str, checkpoint_file: str, hub_repo: str) -> None:
    release = versions.META_RELEASES[version]
    assert (release.config_file, release.checkpoint_file, release.hub_repo) == (
        config_file,
        checkpoint_file,
        hub_repo,
    )


def test_every_release_has_a_digest_of_its_own() -> None:
    digests = [release.sha256 for release in versions.META_RELEASES.values()]
    assert len(set(digests)) == len(versions.META_RELEASES)
    assert all(re.fullmatch(r"[0-9a-f]{64}", digest) for digest in digests)


def test_releases_are_those_in_the_sam2_package() -> None:
    # Read as text: importing `sam2` would import torch and start Hydra.
    table = resources.files("sam2").joinpath("build_sam.py").read_text()
    for release in versions.META_RELEASES.values():
        assert f'"{release.hub_repo}"' in table
        assert f'"{release.config_file}"' in table
        assert f'"{release.checkpoint_file}"' in table
        assert resources.files("sam2").joinpath(release.config_file).is_file()


@pytest.mark.parametrize("version", versions.NAMES)
def test_version_that_can_be_named(version: str) -> None:
    assert versions.check_version(version) == version


@pytest.mark.parametrize(
    "version",
    [
        "",
        "tiny",
        "HIERA_TINY",
        " demo",
        # A workflow can never name a path or a repository.
        "/etc/passwd",
        "../demo",
        "sam2_hiera_tiny.pt",
        "facebook/sam2-hiera-tiny",
        None,
        1,
        ["demo"],
        {"demo": 1},
    ],
)
def test_version_that_cannot(version: object) -> None:
    with pytest.raises(OptionError, match=r"^version: expected one of demo, .*; got "):
        versions.check_version(version)
