"""`sam2-block examples`: the workflows and photos that come with the package."""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

from sam2_block.cli.console import path_text, print_message, print_result, table
from sam2_block.errors import InputError
from sam2_block.messages.nearest_name import nearest_name

FOLDER = Path(str(resources.files("sam2_block") / "examples"))
PHOTO_SUFFIXES = (".png", ".jpg")


def add_parser(commands: Any) -> None:
    """Add `examples` to the parsers of the commands."""
    summary = "list the example workflows and photos, or copy them"
    parser = commands.add_parser("examples", help=summary, description=summary.capitalize() + ".")
    parser.add_argument("--copy", type=Path, metavar="DIR", help="copy them all into this folder")
    parser.set_defaults(command=_examples)


def example_names() -> list[str]:
    """Return the names of the workflows, sorted; each is a file's without its suffix."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def find_workflow(argument: Path) -> Path:
    """Return the path of a workflow: a file, or an example by its name.

    Raises:
        InputError: There is neither.
    """
    if argument.exists():
        return argument
    suggestion = _suggestion(argument.stem)
    if argument.suffix or argument.parent != Path():
        raise InputError(f"{argument}: cannot be read (No such file or directory).{suggestion}")
    if argument.name not in example_names():
        raise InputError(
            f"{argument}: there is no such file, and no example of this name"
            f" (`sam2-block examples` lists them).{suggestion}"
        )
    return FOLDER / f"{argument.name}.json"


def _suggestion(name: str) -> str:
    nearest = nearest_name(name, example_names())
    return f" Did you mean the example {nearest}?" if nearest else ""


def _examples(arguments: argparse.Namespace) -> bool:
    if arguments.copy is None:
        rows = [(name, _summary(FOLDER / f"{name}.json")) for name in example_names()]
        print_message("run one by `sam2-block run NAME PHOTO...`")
        return print_result("\n".join(table(("example", "what it shows"), rows)))
    for path in _files():
        target = arguments.copy / path.name
        try:
            arguments.copy.mkdir(parents=True, exist_ok=True)
            if target.exists() and target.read_bytes() != path.read_bytes():
                print_message(f"{path_text(target)}: is there and differs; not replaced")
                continue
            shutil.copyfile(path, target)
        except OSError as error:
            raise InputError(f"--copy {target}: cannot be written ({error.strerror}).") from error
        print_result(path_text(target))
    return True


def _files() -> Iterator[Path]:
    for path in sorted(FOLDER.iterdir()):
        if path.suffix in (".json", *PHOTO_SUFFIXES):
            yield path


def _summary(path: Path) -> str:
    """Return what a workflow shows: its steps, in order."""
    steps = json.loads(path.read_text("utf-8"))["steps"]
    return " > ".join(str(step["name"]) for step in steps)
