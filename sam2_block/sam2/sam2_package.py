"""Meta's modules, imported under a private name and built without Hydra.

`sam2/__init__.py` initialises Hydra's process-wide state, and Meta's builders rely on that state.
An application that uses Hydra itself needs it untouched. So the public name `sam2` is left to the
application: the package's files are loaded separately as `sam2_block._sam2`, without the root
`__init__` and with the imports between them renamed. The files are located by the metadata of the
installed distribution, because a script or folder named `sam2` may be first on the path.
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

# Roboflow's build of `sam2`, which this package requires, and Meta's.
_DISTRIBUTIONS = ("rf-sam-2", "SAM-2")
# Files of the release that this package is written for; earlier layouts lack the second.
_EXPECTED_FILES = ("modeling/sam2_base.py", "configs/sam2.1/sam2.1_hiera_t.yaml")


def build(node: Any) -> Any:
    """Build the object that a configuration node describes, as `hydra.utils.instantiate` does.

    Args:
        node: A mapping with the key `_target_` becomes an object of that class, with the other
            items as its arguments. In other mappings and in lists every item is built; any other
            value is returned as it is.

    Raises:
        CheckpointInvalidError: The configuration names a class outside `sam2.modeling`.
    """
    if isinstance(node, dict):
        arguments = {name: build(child) for name, child in node.items() if name != "_target_"}
        return _module_class(node["_target_"])(**arguments) if "_target_" in node else arguments
    return [build(child) for child in node] if isinstance(node, list) else node


def config_text(config_file: str) -> str:
    """Return the text of one of the package's configuration files, without importing it."""
    return (package_folder() / config_file).read_text(encoding="utf-8")


@lru_cache(maxsize=1)
def package_folder() -> Path:
    """Return the folder of the installed package `sam2`.

    Raises:
        ModuleNotFoundError: It is not installed.
    """
    for folder in _candidate_folders():
        if all((folder / name).is_file() for name in _EXPECTED_FILES):
            return folder
    raise ModuleNotFoundError("No module named 'sam2'; install the distribution rf-sam-2.")


def _candidate_folders() -> Iterator[Path]:
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
    """Return the class that a configuration names, from Meta's modules under `OWN_NAME`."""
    module, _, name = str(target).rpartition(".")
    module_class = None
    if module.startswith(f"{PACKAGE}.modeling."):
        module_class = getattr(_own_module(module), name, None)
    # Only classes that the module defines itself, not those that it imports.
    own_module = OWN_NAME + module[len(PACKAGE) :]
    if not isinstance(module_class, type) or module_class.__module__ != own_module:
        raise CheckpointInvalidError(
            f"the checkpoint's configuration names {str(target)[:80]!r}; expected classes of"
            " sam2.modeling only."
        )
    return module_class


def _own_module(name: str) -> ModuleType | None:
    """Import the module with a public name, such as `sam2.modeling.sam2_base`, under `OWN_NAME`."""
    # Two threads may each append a finder; a second one is harmless.
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
        tree = _ImportRenamer().visit(ast.parse(self.get_source(fullname), str(self._file)))
        code: CodeType = compile(ast.fix_missing_locations(tree), str(self._file), "exec")
        return code


class _ImportRenamer(ast.NodeTransformer):
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
