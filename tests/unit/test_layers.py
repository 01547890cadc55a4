"""The rooms of the package import downwards only, so that each can be read without those above."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import sam2_block

PACKAGE = Path(sam2_block.__file__).parent

# Top first. A module imports from its own room and from the lines below its own.
LAYERS = [
    ["__main__"],
    ["cli"],
    ["__init__"],
    ["blocks"],
    ["segmenter"],
    ["segmentation"],
    ["backends"],
    ["prompts"],
    ["rows"],
    ["segment_options", "masks", "sam2"],
    ["settings", "compute"],
    ["images", "out_of_memory", "process_state", "versions"],
    ["messages"],
    ["errors", "json_values", "concurrent_map", "_version"],
]


def imported_modules(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "sam2_block":
            yield from (f"sam2_block.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def room_of(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("file", FILES, ids=[f.relative_to(PACKAGE).as_posix() for f in FILES])
def test_a_module_imports_its_own_room_and_those_below(file: Path) -> None:
    height = {room: -depth for depth, rooms in enumerate(LAYERS) for room in rooms}
    own = room_of(file)
    for module in imported_modules(ast.parse(file.read_text(encoding="utf-8"))):
        if module.startswith("sam2_block."):
            room = module.split(".")[1]
            assert room == own or height[room] < height[own], module


def test_a_file_name_is_used_once() -> None:
    names = [f.name for f in FILES if f.name not in ("__init__.py", "v1.py", "v1_manifest.py")]
    assert sorted(names) == sorted(set(names))
