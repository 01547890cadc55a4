"""The tree drawn in the docstring of `sam2_block.errors` is the tree of its classes."""

from __future__ import annotations

import inspect
import re

from sam2_block import errors

LINE = re.compile(r"^(?P<branch>[│├└─ ]*)(?P<name>\w+)(?: \((?P<also>\w+)\))?(?: {2,}.*)?$")


def drawn_bases() -> dict[str, set[str]]:
    """Read the drawing: the names of each class's bases, its parent and those in brackets."""
    _, drawing, _ = errors.__doc__.split("```")
    bases: dict[str, set[str]] = {}
    ancestors: list[str] = []
    for line in drawing.strip().splitlines():
        match = LINE.match(line)
        assert match, f"not a line of the tree: {line!r}"
        depth, name = len(match["branch"]) // 4, match["name"]
        ancestors = [*ancestors[:depth], name]
        assert len(ancestors) == depth + 1, f"hangs in the air: {line!r}"
        bases[name] = {ancestors[depth - 1]} if depth else {"Exception"}
        if match["also"]:
            bases[name].add(match["also"])
    return bases


def test_tree_drawn_is_the_tree() -> None:
    classes = {
        name: {base.__name__ for base in value.__bases__}
        for name, value in vars(errors).items()
        if inspect.isclass(value)
    }
    assert len(classes) >= 9
    assert drawn_bases() == classes
