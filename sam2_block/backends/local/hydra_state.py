"""Import `sam2` without taking Hydra away from the application.

`sam2/__init__.py` initialises Hydra's process-wide state on import. An application that then calls
`hydra.initialize` itself, or decorates its main function with `hydra.main`, is told that Hydra is
initialised already. Here the state is put back as it was.
"""

from __future__ import annotations

import threading
from typing import Any

_lock = threading.Lock()


def import_sam2() -> Any:
    """Import the package `sam2` and return it, leaving Hydra's global state as it was found."""
    with _lock:
        from hydra.core.global_hydra import GlobalHydra
        from hydra.version import VersionBase

        was_initialised = GlobalHydra.instance().is_initialized()
        version_base = VersionBase.instance().getbase()
        try:
            import sam2
        finally:
            if not was_initialised:
                GlobalHydra.instance().clear()
                # `setbase` refuses the marker for "not set yet", so the attribute is set.
                VersionBase.instance().version_base = version_base
        return sam2
