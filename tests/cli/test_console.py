"""What cannot be printed, and streams that nobody reads."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sam2_block.cli.console import path_text, print_message, print_result

needs_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
COMMAND = [sys.executable, "-m", "sam2_block"]


@pytest.mark.parametrize(
    ("encoding", "text", "printed"),
    [
        ("utf-8", "фото 写真", "фото 写真"),
        ("utf-8", "undecodable \udcff", "undecodable \\udcff"),
        ("cp1252", "Größe фо", "Größe \\u0444\\u043e"),
        ("latin-1", "写.png", "\\u5199.png"),
        ("ascii", "é 😀", "\\xe9 \\U0001f600"),
        ("utf-8", "two\nlines", "two\nlines"),
        ("utf-8", "\x1b]0;title\x07 \x9b31m", "\\x1b]0;title\\x07 \\x9b31m"),
    ],
)
def test_what_a_stream_cannot_take_is_escaped(
    encoding: str, text: str, printed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, function, start in (
        ("stdout", print_result, ""),
        ("stderr", print_message, "sam2-block: "),
    ):
        raw = io.BytesIO()
        monkeypatch.setattr(sys, name, io.TextIOWrapper(raw, encoding, errors="strict"))
        function(text)
        assert raw.getvalue().decode(encoding).replace(os.linesep, "\n") == f"{start}{printed}\n"


def test_a_path_is_one_line() -> None:
    assert path_text(Path("a\nb\u2028c\td")) == "a\\nb\\u2028c\\td"


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_streams_that_are_closed(stream: str, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    closed.close()
    for value in (None, closed):
        monkeypatch.setattr(sys, stream, value)
        assert print_result("text")
        print_message("text")


@pytest.mark.parametrize(
    "arguments", [["models", "list"], ["models", "where", "demo"], ["--help"], ["--version"]]
)
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_left(arguments: list[str], unbuffered: str) -> None:
    """As `| head -0`: the pipe is closed before anything is written."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [*COMMAND, *arguments],
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_reader_of_both_streams_that_left() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        arguments = ["models", "where", "hiera_large"]
        environment = {**os.environ, "HF_HOME": os.devnull}
        done = subprocess.run(
            [*COMMAND, *arguments], stdout=writing, stderr=writing, env=environment
        )
    finally:
        os.close(writing)
    assert done.returncode == 1  # the weights are not here, read or not


@needs_full
def test_a_full_disk_is_said_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert [print_result("text") for _ in range(3)] == [False, True, True]
    assert capsys.readouterr().err.count("nothing more can be printed") == 1


@needs_full
def test_a_disk_that_is_full() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*COMMAND, "models", "list"], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 1
    assert done.stderr == ("sam2-block: nothing more can be printed (No space left on device)\n")


@pytest.mark.skipif(os.name != "posix", reason="needs a POSIX shell")
@pytest.mark.parametrize("closing", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_descriptors_that_are_closed_from_the_start(closing: str, tmp_path: Path) -> None:
    """A file that takes their number would receive what libraries write to stderr."""
    code = (
        "import os, sys\n"
        "from sam2_block.cli.console import print_message, print_result, standard_streams\n"
        "with standard_streams():\n"
        "    file = open('result', 'w'); print_result('table'); print_message('progress')\n"
        "    os.write(1, b'1'); os.write(2, b'2')\n"
        "    sys.exit(file.fileno() < 3)\n"
    )
    command = f'"$1" -c "$2" {closing}'
    done = subprocess.run(["sh", "-c", command, "sh", sys.executable, code], cwd=tmp_path)
    assert done.returncode == 0
    assert (tmp_path / "result").read_text() == ""
