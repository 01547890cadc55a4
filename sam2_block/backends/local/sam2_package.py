"""Use Meta's `sam2` package without what importing it does to the process.

`sam2/__init__.py` initialises Hydra's process-wide state. An application that then calls
`hydra.initialize` itself, or decorates its main function with `hydra.main`, is told that Hydra is
initialised already. And Meta's own builders need that state: an application that imports `sam2`
for itself must find it initialised. So this package keeps modules of its own: the same files,
loaded without running `sam2/__init__.py`, and out of `sys.modules` as soon as they are loaded.
"""

from __future__ import annotations

import contextlib
import importlib.machinery
import importlib.util
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

PACKAGE = "sam2"

_lock = threading.RLock()
_modules: dict[str, ModuleType] = {}


@contextlib.contextmanager
def sam2_modules() -> Iterator[None]:
    """Within this context `import sam2.modeling...` works, and gives this package's modules.

    Where the application has imported `sam2` already, its modules are used as they are.
    """
    with _lock:
        if PACKAGE in sys.modules:
            yield
            return
        if not _modules:
            # A package without its `__init__` run: its modules are found, and nothing else is done.
            _modules[PACKAGE] = importlib.util.module_from_spec(_spec())
        sys.modules.update(_modules)
        try:
            yield
        finally:
            for name in [name for name in sys.modules if name.split(".")[0] == PACKAGE]:
                _modules[name] = sys.modules.pop(name)


def config_text(config_file: str) -> str:
    """Return the text of one of the package's configuration files; nothing is imported."""
    (folder,) = _spec().submodule_search_locations or []
    return (Path(folder) / config_file).read_text(encoding="utf-8")


def _spec() -> importlib.machinery.ModuleSpec:
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None:
        raise ModuleNotFoundError("No module named 'sam2'; install the distribution rf-sam-2.")
    return spec
