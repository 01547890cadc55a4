"""`sam2-block models` and what the command says of itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import sam2_block
from sam2_block.backends.local.models import checkpoints, hub
from sam2_block.cli import main
from sam2_block.versions import META_RELEASES, NAMES


@pytest.fixture
def checkpoint_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The operator's folder, holding the weights of `hiera_tiny`; the Hub's cache is empty."""
    monkeypatch.setenv("SAM2_BLOCK_CHECKPOINT_DIR", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda repo, file: None)
    (tmp_path / "sam2_hiera_tiny.pt").write_bytes(b"weights")
    return tmp_path


def test_list(
    checkpoint_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "huggingface_hub.try_to_load_from_cache",
        lambda repo, file: __file__ if repo == "facebook/sam2-hiera-large" else None,
    )
    assert main(["models", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["version", "checkpoint", "where"]
    cells = {line.split()[0]: line.split(maxsplit=2)[1:] for line in lines[1:]}
    assert tuple(cells) == NAMES
    assert cells["hiera_tiny"] == ["sam2_hiera_tiny.pt", str(checkpoint_dir)]
    assert cells["hiera_large"] == ["sam2_hiera_large.pt", "Hugging Face cache"]
    assert cells["sam2.1_hiera_b_plus"] == ["sam2.1_hiera_base_plus.pt", "not here"]
    assert cells["demo"][0] == "demo.safetensors"
    assert len({line.rindex(cells[line.split()[0]][1]) for line in lines[1:]}) == 1  # aligned


@pytest.mark.parametrize(("is_there", "place"), [(True, "built in"), (False, "not here")])
def test_list_tells_whether_the_demo_checkpoint_is_installed(
    is_there: bool,
    place: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "weights").mkdir()
    if is_there:
        (tmp_path / "weights" / "demo.safetensors").touch()
    monkeypatch.setattr(checkpoints.resources, "files", lambda package: tmp_path)
    assert main(["models", "list"]) == 0
    assert capsys.readouterr().out.splitlines()[1].endswith(place)


def test_where_prints_the_path_only(
    checkpoint_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "where", "hiera_tiny"]) == 0
    out, err = capsys.readouterr()
    assert out == f"{checkpoint_dir / 'sam2_hiera_tiny.pt'}\n"
    assert err == ""


def test_where_says_how_to_get_what_is_not_here(
    checkpoint_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "where", "hiera_small"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("sam2-block: version hiera_small: ")
    assert err.count("\n") == 1
    for part in (
        "sam2_hiera_small.pt",
        str(checkpoint_dir),
        "sam2-block models fetch hiera_small",
    ):
        assert part in err


def test_fetch_prints_the_path(
    checkpoint_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []

    def download(repo: str, file: str) -> str:
        asked.append((repo, file))
        path = checkpoint_dir / "hub" / file
        path.parent.mkdir()
        path.touch()
        return str(path)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    digest = META_RELEASES["sam2.1_hiera_small"].sha256
    monkeypatch.setattr(hub, "file_sha256", lambda path: digest)
    assert main(["models", "fetch", "sam2.1_hiera_small"]) == 0
    assert asked == [("facebook/sam2.1-hiera-small", "sam2.1_hiera_small.pt")]
    assert capsys.readouterr().out == f"{checkpoint_dir / 'hub' / 'sam2.1_hiera_small.pt'}\n"


def test_fetch_offline(
    checkpoint_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def download(repo: str, file: str) -> str:
        raise ConnectionError

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    assert main(["models", "fetch", "hiera_small"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("sam2-block: version hiera_small: the checkpoint sam2_hiera_small.pt")
    assert err.count("\n") == 1


def test_list_goes_on_past_what_is_no_file(
    checkpoint_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (checkpoint_dir / "sam2_hiera_small.pt").mkdir()
    assert main(["models", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + len(NAMES)
    (line,) = [line for line in lines if line.startswith("hiera_small ")]
    assert line.endswith("cannot be used: see `sam2-block models where hiera_small`")
    assert main(["models", "where", "hiera_small"]) == 1
    assert "is a folder; expected the checkpoint's file" in capsys.readouterr().err


@pytest.mark.parametrize("folder", ["~nobody-of-this-name/weights", "w" * 300])
def test_list_says_in_one_line_what_is_wrong_with_the_folder(
    folder: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SAM2_BLOCK_CHECKPOINT_DIR", folder)
    assert main(["models", "list"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("sam2-block: SAM2_BLOCK_CHECKPOINT_DIR")
    assert err.count("\n") == 1


def test_a_bad_setting_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SAM2_BLOCK_CACHE_BYTES", "lots")
    assert main(["models", "list"]) == 1
    assert capsys.readouterr().err == (
        "sam2-block: SAM2_BLOCK_CACHE_BYTES: expected a whole number of bytes, 0 or more;"
        " got 'lots'.\n"
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["models"], "required: ACTION"),
        (["models", "where"], "required: VERSION"),
        (["models", "where", "huge"], "invalid choice: 'huge'"),
        (["models", "fetch", "/etc/passwd"], "invalid choice: '/etc/passwd'"),
        (["run", "a.json"], "expected at least one image"),
        (["segment", "--box", "1,2,3,4"], "expected at least one image"),
        (["models", "list", "more"], "unrecognized arguments: more"),
        (["run", "a.json", "a.png", "--sow"], "unrecognized arguments: --sow"),
        (["run", "a.json", "--image", "a.png", "--param", "x"], "expected NAME=VALUE; got 'x'"),
        (["run", "a.json", "--image", "a.png", "--param", "=x"], "expected NAME=VALUE; got '=x'"),
    ],
)
def test_usage_errors_end_with_status_2(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert says in capsys.readouterr().err


def test_version_is_light() -> None:
    """`python -m` works, and imports nothing that takes seconds."""
    script = (
        "import runpy, sys\n"
        "sys.argv = ['sam2-block', '--version']\n"
        "try: runpy.run_module('sam2_block', run_name='__main__')\n"
        "except SystemExit as end: assert end.code == 0, end.code\n"
        "heavy = {'torch', 'sam2', 'roboflow_workflows', 'inference', 'supervision', 'cv2'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"sam2-block {sam2_block.__version__}\n"
