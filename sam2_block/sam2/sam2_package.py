"""Meta's modules under names of this package's own, built without Hydra.

`sam2/__init__.py` initialises Hydra's process-wide state, Meta's own builders need it initialised,
and an application that uses Hydra itself must find it untouched. So the public name `sam2` is left
to the application: its files are loaded a second time as `sam2_block._sam2`, without their
`__init__`, and the imports between them are renamed. The files are found by the metadata of the
distribution that installed them, as a script or folder named `sam2` may be first on the path.
"""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import json
import sys
from collections.abc import Iterator, Sequence
from functools import lru_cache
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from sam2_block.errors import CheckpointInvalidError

PACKAGE = "sam2"
OWN_NAME = "sam2_block._sam2"

# Roboflow's build of it, which this package requires, and Meta's own.
_DISTRIBUTIONS = ("rf-sam-2", "SAM-2")
# Files of the release that this package is written for; earlier layouts lack the second.
_EXPECTED = ("modeling/sam2_base.py", "configs/sam2.1/sam2.1_hiera_t.yaml")


def build(node: Any) -> Any:
    """Build what a node of a configuration describes, as `hydra.utils.instantiate` does.

    Args:
        node: A mapping with the key `_target_` becomes an object of that class; other mappings,
            sequences and values stay as they are, with the same done to what they hold.

    Raises:
        CheckpointInvalidError: The configuration names anything but a module of `sam2.modeling`.
    """
    if isinstance(node, dict):
        arguments = {name: build(child) for name, child in node.items() if name != "_target_"}
        return _module_class(node["_target_"])(**arguments) if "_target_" in node else arguments
    return [build(child) for child in node] if isinstance(node, list) else node


def config_text(config_file: str) -> str:
    """Return the text of one of the package's configuration files; nothing is imported."""
    return (package_folder() / config_file).read_text(encoding="utf-8")


@lru_cache(maxsize=1)
def package_folder() -> Path:
    """Return the folder of the installed package `sam2`.

    Raises:
        ModuleNotFoundError: It is not installed.
    """
    for folder in _candidates():
        if all((folder / name).is_file() for name in _EXPECTED):
            return folder
    raise ModuleNotFoundError("No module named 'sam2'; install the distribution rf-sam-2.")


def _candidates() -> Iterator[Path]:
    for name in _DISTRIBUTIONS:
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        yield Path(str(distribution.locate_file(PACKAGE)))
        # Installed in editable mode: the metadata names the project's folder.
        origin = json.loads(distribution.read_text("direct_url.json") or "{}")
        url = urlsplit(str(origin.get("url", "")))
        if url.scheme == "file":
            yield Path(url2pathname(url.path)) / PACKAGE
    for entry in sys.path:
        yield Path(entry) / PACKAGE


def _module_class(target: Any) -> Any:
    """Return the class of Meta's that a configuration names, from this package's own modules."""
    module, _, name = str(target).rpartition(".")
    found = None
    if module.startswith(f"{PACKAGE}.modeling."):
        found = getattr(_own_module(module), name, None)
    # A class, and of that module's own: not one of what the module imports.
    if not isinstance(found, type) or found.__module__ != OWN_NAME + module[len(PACKAGE) :]:
        raise CheckpointInvalidError(
            f"the checkpoint's configuration names {str(target)[:80]!r}; expected classes of"
            " sam2.modeling only."
        )
    return found


def _own_module(name: str) -> ModuleType | None:
    """Import Meta's module of a public name, such as `sam2.modeling.sam2_base`, under our own."""
    # Two threads may both append it, which does no harm.
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())
    try:
        return importlib.import_module(OWN_NAME + name[len(PACKAGE) :])
    except ModuleNotFoundError as error:
        if str(error.name).startswith(OWN_NAME):  # the configuration names no such module
            return None
        raise


class _Finder(MetaPathFinder):
    """Finds the modules under `OWN_NAME`, and no others."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != OWN_NAME and not fullname.startswith(OWN_NAME + "."):
            return None
        base = package_folder().joinpath(*fullname[len(OWN_NAME) + 1 :].split("."))
        file = base.with_suffix(".py")
        if base.is_dir():
            file = base / "__init__.py"
        if not file.is_file():
            return None
        spec = ModuleSpec(fullname, _Loader(file), origin=str(file), is_package=base.is_dir())
        spec.has_location = True  # gives the module its `__file__`
        return spec


class _Loader(InspectLoader):
    """Loads one of Meta's files, its imports of `sam2` renamed."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def is_package(self, fullname: str) -> bool:
        return self._file.name == "__init__.py"

    def get_source(self, fullname: str) -> str:
        # The root's `__init__` initialises Hydra.
        return "" if fullname == OWN_NAME else self._file.read_text(encoding="utf-8")

    def get_code(self, fullname: str) -> CodeType:
        tree = _Renamed().visit(ast.parse(self.get_source(fullname), str(self._file)))
        code: CodeType = compile(ast.fix_missing_locations(tree), str(self._file), "exec")
        return code


class _Renamed(ast.NodeTransformer):
    """Renames the imports of `sam2` within a module's source."""

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST:
        if node.level == 0 and node.module and node.module.split(".")[0] == PACKAGE:
            node.module = OWN_NAME + node.module[len(PACKAGE) :]
        return node

    def visit_Import(self, node: ast.Import) -> list[ast.AST]:
        imports: list[ast.AST] = []
        for alias in node.names:
            if alias.name.split(".")[0] != PACKAGE:
                imports.append(ast.Import([alias]))
                continue
            own = OWN_NAME + alias.name[len(PACKAGE) :]
            # Without an alias, `import sam2.modeling` binds `sam2`.
            bound = ast.alias(own, alias.asname) if alias.asname else ast.alias(OWN_NAME, PACKAGE)
            imports += [ast.Import([ast.alias(own)]), ast.Import([bound])]
        return imports
