"""Building a model leaves Hydra's process-wide state as the application had it."""

from __future__ import annotations

import subprocess
import sys

import pytest

BUILD = """
from sam2_block.backends.local.model import build_model, meta_config
build_model(meta_config("hiera_tiny"))
import sam2
from hydra import initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.version import VersionBase
"""

CASES = {
    "an application that has not used Hydra finds it unused": (
        "from hydra.version import VersionBase; before = VersionBase.instance().getbase()",
        "assert not GlobalHydra.instance().is_initialized()\n"
        "assert VersionBase.instance().getbase() is before",
    ),
    "an application may initialise Hydra afterwards": (
        "",
        'initialize_config_module("sam2", version_base="1.1")\n'
        "assert GlobalHydra.instance().is_initialized()",
    ),
    "an application that has initialised Hydra keeps its own": (
        "import hydra; hydra.initialize_config_module('hydra.conf', version_base='1.3')\n"
        "from hydra.core.global_hydra import GlobalHydra; mine = GlobalHydra.instance().hydra",
        "assert GlobalHydra.instance().hydra is mine\n"
        "assert str(VersionBase.instance().getbase()) == '1.3'",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_state_is_left_alone(case: str) -> None:
    before, after = CASES[case]
    code = "\n".join([before, BUILD, after])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
