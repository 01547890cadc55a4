"""Where weights are looked for, and how they come from the Hub (a fake one, on loopback)."""

from __future__ import annotations

import errno
import itertools
import os
import re
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sam2_block.backends.local.models.checkpoints import fetch_checkpoint, find_checkpoint
from sam2_block.backends.local.models.hub import failure_reason
from sam2_block.errors import (
    CheckpointInvalidError,
    CheckpointNotFoundError,
    OptionError,
    Sam2BlockError,
    SettingsError,
)
from sam2_block.settings import LocalSettings
from sam2_block.versions import META_RELEASES, NAMES
from tests.local.fake_hub import FakeHub

RELEASE = META_RELEASES["hiera_tiny"]
CONTENT = bytes(range(256)) * 4096

# The fake Hub's file takes the place of Meta's, digest and all.
PUBLISHED = """
import dataclasses, os
from sam2_block.versions import META_RELEASES as releases
releases["hiera_tiny"] = dataclasses.replace(releases["hiera_tiny"], sha256=os.environ["DIGEST"])
"""
FETCH = (
    PUBLISHED
    + """
from sam2_block.backends.local.models.checkpoints import fetch_checkpoint
from sam2_block.settings import LocalSettings, Settings
print(fetch_checkpoint("hiera_tiny", Settings.from_environment().local))
"""
)
SEGMENT = (
    PUBLISHED
    + """
import numpy as np
from sam2_block import Segmenter
answer = Segmenter("hiera_tiny").segment(np.zeros((40, 60, 3), np.uint8), points=[(30, 20)])
print(len(answer), answer.data["sam2_score"][0])
"""
)


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
            "DIGEST": hub.digest,
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
        assert "failed: the connection to 127.0.0.1 broke." in broken.stderr.splitlines()[-1]
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


REASONS: dict[str, tuple[dict[str, str], str]] = {
    "offline": ({"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE is set, so that nothing is downloaded"),
    "the engine is offline": (
        {"OFFLINE_MODE": "True"},
        "OFFLINE_MODE is enabled, so that nothing is downloaded",
    ),
    "nobody listens": (
        {"HF_ENDPOINT": "http://127.0.0.1:9"},
        "there is no connection to 127.0.0.1",
    ),
    "a name that is not known": (
        {"HF_ENDPOINT": "http://user:hush@hub.invalid"},
        "there is no connection to hub.invalid",
    ),
    "the proxy is not there": (
        {"HTTP_PROXY": "http://user:hush@127.0.0.1:9", "NO_PROXY": ""},
        "there is no connection to 127.0.0.1 through the proxy of HTTP_PROXY",
    ),
    "the cache is no folder": (
        {"HF_HUB_CACHE": __file__},
        f"{__file__} is not writable (HF_HUB_CACHE)",
    ),
    "401": ({}, "access is refused (status 401); see HF_TOKEN"),
    "403": ({}, "access is refused (status 403); see HF_TOKEN"),
    "404": ({}, "the file was not found (status 404); see HF_ENDPOINT"),
    "418": ({}, "the server returned status 418"),
}


@pytest.mark.parametrize("case", REASONS)
def test_a_missing_checkpoint_says_which_where_why_and_how(
    run: Any, hub: FakeHub, tmp_path: Path, case: str
) -> None:
    environment, reason = REASONS[case]
    hub.status = int(case) if case.isdigit() else None
    done = run(FETCH, SAM2_BLOCK_CHECKPOINT_DIR=str(tmp_path), HF_TOKEN="hf_hush", **environment)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert "hush" not in last
    assert last == (
        "sam2_block.errors.CheckpointNotFoundError: version hiera_tiny: the checkpoint"
        " sam2_hiera_tiny.pt is neither in the folder SAM2_BLOCK_CHECKPOINT_DIR"
        f" ({tmp_path}) nor in the Hugging Face cache, and downloading it from"
        f" facebook/sam2-hiera-tiny failed: {reason}. Run `sam2-block models fetch hiera_tiny`"
        " while online, or put the file into that folder, or use version 'demo', which is built in"
        " but for demos and tests only."
    )


def chained(*errors: BaseException) -> BaseException:
    """Chain errors as `raise ... from` does, the first outermost."""
    for error, cause in itertools.pairwise(errors):
        error.__cause__ = cause
    return errors[0]


def named(name: str, base: type[Exception] = Exception) -> Exception:
    return type(name, (base,), {})("see http://user:hush@host/?token=hush")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "the disk of .* is full"),
        (chained(named("HTTPError"), OSError(errno.EDQUOT, "Quota")), "the disk of .* is full"),
        (PermissionError(errno.EACCES, "Permission denied"), "is not writable"),
        (OSError(errno.EROFS, "Read-only file system"), "is not writable"),
        (named("ProxyError"), "the proxy cannot be reached"),
        # `requests` and `urllib3`: a connection error that is caused by the proxy.
        (chained(named("ConnectionError"), named("ProxyError")), "the proxy cannot be reached"),
        (chained(named("ConnectError"), ssl.SSLError("hush")), "certificate is not trusted"),
        (
            named("ReadTimeout", type("TimeoutException", (Exception,), {})),
            "did not respond in time",
        ),
        (named("ReadTimeout", type("Timeout", (Exception,), {})), "did not respond in time"),
        (named("GatedRepoError"), "access to the repository is not granted"),
        (chained(named("LocalEntryNotFoundError"), named("ConnectError")), "no connection to"),
        (named("SomethingNew"), "SomethingNew"),
    ],
)
def test_the_reason_is_in_the_chain_of_errors(error: BaseException, reason: str) -> None:
    given = failure_reason(error)
    assert re.search(reason, given)
    assert "hush" not in given


def test_a_chain_of_errors_may_be_a_ring() -> None:
    first, second = ValueError(), KeyError()
    first.__cause__, second.__cause__ = second, first
    assert failure_reason(first) == "ValueError"


def test_a_file_that_is_not_metas_is_refused_and_not_kept(run: Any, hub: FakeHub) -> None:
    first, second = run(FETCH, DIGEST="0" * 64), run(FETCH)
    assert first.returncode == 1
    last = first.stderr.strip().splitlines()[-1]
    assert last.startswith("sam2_block.errors.CheckpointInvalidError: version hiera_tiny: ")
    assert f"SHA-256 {hub.digest}; expected {'0' * 64}. It was removed." in last
    assert second.returncode == 0, second.stderr
    assert Path(second.stdout.strip()).read_bytes() == CONTENT
    assert len(hub.downloads()) == 2


@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "OFFLINE_MODE"])
def test_offline_makes_no_request(variable: str, run: Any, hub: FakeHub) -> None:
    run(FETCH, **{variable: "1"})
    assert hub.requests == []


def test_the_operators_folder_comes_first(run: Any, hub: FakeHub, tmp_path: Path) -> None:
    path = tmp_path / RELEASE.checkpoint_file
    path.touch()
    done = run(FETCH, SAM2_BLOCK_CHECKPOINT_DIR=str(tmp_path))
    assert done.stdout.strip() == str(path)
    assert hub.requests == []


@pytest.mark.parametrize("version", [name for name in NAMES if name != "demo"])
def test_every_version_is_found_under_metas_file_name(version: str, tmp_path: Path) -> None:
    settings = LocalSettings(checkpoint_dir=tmp_path)
    path = tmp_path / META_RELEASES[version].checkpoint_file
    path.touch()
    assert find_checkpoint(version, settings) == path
    assert fetch_checkpoint(version, settings) == path


def test_the_demo_checkpoint_is_inside_the_package() -> None:
    path = find_checkpoint("demo", LocalSettings())
    assert path is not None
    assert path.is_file()
    assert path.parent.parent.name == "sam2_block"
    assert path.stat().st_size <= 12_000_000


@pytest.mark.parametrize(
    "version", ["", "../secrets.pt", "/etc/passwd", "sam2_hiera_tiny.pt", None]
)
def test_a_version_is_never_a_path(version: Any, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"version: expected one of demo, hiera_tiny"):
        find_checkpoint(version, LocalSettings(checkpoint_dir=tmp_path))


def test_the_error_is_of_this_packages_tree(tmp_path: Path) -> None:
    # HF_HUB_OFFLINE is set for the tests' own process.
    with pytest.raises(CheckpointNotFoundError):
        fetch_checkpoint("sam2.1_hiera_large", LocalSettings(checkpoint_dir=tmp_path))


def make_link(path: Path) -> None:
    path.symlink_to(path.parent / "gone.pt")


UNUSABLE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a folder": (Path.mkdir, "is a folder"),
    "a link that leads nowhere": (make_link, "is a link to a file that does not exist"),
    "a pipe, which would be waited for": (lambda path: os.mkfifo(path), "is not a regular file"),
}


@pytest.mark.skipif(os.name == "nt", reason="makes links and pipes")
@pytest.mark.parametrize("kind", UNUSABLE)
@pytest.mark.parametrize("find", [find_checkpoint, fetch_checkpoint])
def test_what_is_no_file_is_an_error_of_this_package(kind: str, find: Any, tmp_path: Path) -> None:
    make, problem = UNUSABLE[kind]
    make(tmp_path / RELEASE.checkpoint_file)
    with pytest.raises(CheckpointInvalidError, match=problem) as raised:
        find("hiera_tiny", LocalSettings(checkpoint_dir=tmp_path))
    assert f"SAM2_BLOCK_CHECKPOINT_DIR ({tmp_path})" in str(raised.value)


@pytest.mark.parametrize("folder", [Path("/x" * 3000), Path("y" * 300), Path("a\0b")])
@pytest.mark.parametrize("find", [find_checkpoint, fetch_checkpoint])
def test_a_folder_that_cannot_be_named_is_an_error_of_the_setting(folder: Path, find: Any) -> None:
    with pytest.raises(SettingsError, match=r"^SAM2_BLOCK_CHECKPOINT_DIR .*accessible") as raised:
        find("hiera_tiny", LocalSettings(checkpoint_dir=folder))
    assert len(str(raised.value)) < 400


@pytest.mark.parametrize("code", [errno.EACCES, errno.ELOOP, errno.EIO, errno.ESTALE])
def test_a_folder_that_may_not_be_entered_is_an_error_of_the_setting(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, **_: Any) -> Any:
        raise OSError(code, os.strerror(code), str(path))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "stat", refuse)
        with pytest.raises(SettingsError) as raised:
            find_checkpoint("hiera_tiny", LocalSettings(checkpoint_dir=tmp_path))
    assert str(raised.value).endswith(f"got: {os.strerror(code)}.")


@pytest.mark.parametrize("file_in_place_of_the_folder", [True, False])
def test_a_folder_that_is_not_there_is_passed_over_with_a_warning(
    file_in_place_of_the_folder: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "weights"
    if file_in_place_of_the_folder:
        folder.touch()
    with pytest.raises(Sam2BlockError, match="neither in the folder"):
        fetch_checkpoint("hiera_tiny", LocalSettings(checkpoint_dir=folder))
    assert f"SAM2_BLOCK_CHECKPOINT_DIR: there is no folder {folder}" in caplog.text
