"""Where weights are looked for, and how they come from the Hub (a fake one, on loopback)."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sam2_block.backends.local.checkpoints import fetch_checkpoint, find_checkpoint
from sam2_block.errors import CheckpointNotFoundError, OptionError
from sam2_block.settings import Settings
from sam2_block.versions import META_RELEASES, NAMES
from tests.local.fake_hub import FakeHub

RELEASE = META_RELEASES["hiera_tiny"]
CONTENT = bytes(range(256)) * 4096

FETCH = """
from sam2_block.backends.local.checkpoints import fetch_checkpoint
from sam2_block.settings import Settings
print(fetch_checkpoint("hiera_tiny", Settings.from_environment()))
"""
SEGMENT = """
import numpy as np
from sam2_block import Segmenter
answer = Segmenter("hiera_tiny").segment(np.zeros((40, 60, 3), np.uint8), points=[(30, 20)])
print(len(answer), answer.data["sam2_score"][0])
"""


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub(RELEASE.hub_repo, RELEASE.checkpoint_file, CONTENT) as hub:
        yield hub


@pytest.fixture
def run(hub: FakeHub, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run code in a process whose Hub is the fake one and whose cache is empty.

    A process, because `huggingface_hub` reads its configuration when it is imported.
    """

    def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "HF_HUB_OFFLINE": "0",
            "HF_ENDPOINT": hub.url,
            "HF_HOME": str(tmp_path / "hf"),
            "HF_HUB_CACHE": str(tmp_path / "hf" / "hub"),
            "HF_HUB_DISABLE_XET": "1",
            "SAM2_BLOCK_DEVICE": "cpu",
            **environment,
        }
        return subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=environment
        )

    return run


def test_fetches_from_the_hub_once(run: Any, hub: FakeHub) -> None:
    first, second = run(FETCH), run(FETCH)
    assert first.returncode == 0, first.stderr
    path = Path(first.stdout.strip())
    assert path.name == RELEASE.checkpoint_file
    assert path.read_bytes() == CONTENT
    assert second.stdout == first.stdout
    assert len(hub.downloads()) == 1


def test_a_download_that_breaks_off_goes_on_the_next_time(run: Any, hub: FakeHub) -> None:
    hub.content = CONTENT * 24  # 24 MiB: the client writes in pieces of 10 MB
    hub.break_after = len(hub.content) * 3 // 4
    broken, done = run(FETCH), run(FETCH)
    if broken.returncode:  # later releases of the client go on at once
        assert "(RemoteProtocolError)" in broken.stderr.splitlines()[-1]
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).read_bytes() == hub.content
    first, second = hub.downloads()
    assert first is None
    assert second is not None
    assert int(second.removeprefix("bytes=").removesuffix("-")) >= 10_000_000


def test_a_download_shows_its_progress(run: Any) -> None:
    # The variable stands in for a terminal: without one, the client shows no bar.
    assert f"{RELEASE.checkpoint_file}: 100%" in run(FETCH, TQDM_POSITION="-1").stderr


def test_metas_format_loads_from_the_hub_and_segments(
    run: Any, hub: FakeHub, random_checkpoint: Any
) -> None:
    hub.content = random_checkpoint("hiera_tiny").read_bytes()
    done = run(SEGMENT)
    assert done.returncode == 0, done.stderr
    rows, score = done.stdout.split()
    assert rows == "1"
    assert 0 < float(score) < 1


@pytest.mark.parametrize(
    "environment",
    [
        {"HF_HUB_OFFLINE": "1"},
        {"HF_ENDPOINT": "http://127.0.0.1:9"},  # nobody listens
    ],
)
def test_a_missing_checkpoint_says_which_where_and_how(
    run: Any, tmp_path: Path, environment: dict[str, str]
) -> None:
    done = run(FETCH, SAM2_BLOCK_CHECKPOINT_DIR=str(tmp_path), **environment)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    # The reason is the client's own error, which differs between its releases.
    assert re.sub(r"failed \(\w+\)", "failed (...)", last) == (
        "sam2_block.errors.CheckpointNotFoundError: version hiera_tiny: the checkpoint"
        " sam2_hiera_tiny.pt is neither in the folder SAM2_BLOCK_CHECKPOINT_DIR"
        f" ({tmp_path}) nor in the Hugging Face cache, and downloading it from"
        " facebook/sam2-hiera-tiny failed (...); run `sam2-block models fetch hiera_tiny`"
        " while online, or put the file into that folder, or use version 'demo', which is built in"
        " but for demos and tests only."
    )


def test_offline_makes_no_request(run: Any, hub: FakeHub) -> None:
    run(FETCH, HF_HUB_OFFLINE="1")
    assert hub.requests == []


def test_the_operators_folder_comes_first(run: Any, hub: FakeHub, tmp_path: Path) -> None:
    path = tmp_path / RELEASE.checkpoint_file
    path.touch()
    done = run(FETCH, SAM2_BLOCK_CHECKPOINT_DIR=str(tmp_path))
    assert done.stdout.strip() == str(path)
    assert hub.requests == []


@pytest.mark.parametrize("version", [name for name in NAMES if name != "demo"])
def test_every_version_is_found_under_metas_file_name(version: str, tmp_path: Path) -> None:
    settings = Settings(checkpoint_dir=tmp_path)
    path = tmp_path / META_RELEASES[version].checkpoint_file
    path.touch()
    assert find_checkpoint(version, settings) == path
    assert fetch_checkpoint(version, settings) == path


def test_the_demo_checkpoint_is_inside_the_package() -> None:
    path = find_checkpoint("demo", Settings())
    assert path is not None
    assert path.is_file()
    assert path.parent.parent.name == "sam2_block"
    assert path.stat().st_size <= 12_000_000


@pytest.mark.parametrize(
    "version", ["", "../secrets.pt", "/etc/passwd", "sam2_hiera_tiny.pt", None]
)
def test_a_version_is_never_a_path(version: Any, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"version: expected one of demo, hiera_tiny"):
        find_checkpoint(version, Settings(checkpoint_dir=tmp_path))


def test_the_error_is_of_this_packages_tree(tmp_path: Path) -> None:
    # HF_HUB_OFFLINE is set for the tests' own process.
    with pytest.raises(CheckpointNotFoundError):
        fetch_checkpoint("sam2.1_hiera_large", Settings(checkpoint_dir=tmp_path))
