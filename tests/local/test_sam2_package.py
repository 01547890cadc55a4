"""Building a model leaves Hydra, and the package `sam2`, to the application."""

from __future__ import annotations

import subprocess
import sys

import pytest

BUILD = """
from sam2_block.backends.local.model import build_model, meta_config
build_model(meta_config("hiera_tiny"))
import sys
from hydra import initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.version import VersionBase
"""
METAS_OWN = 'from sam2.build_sam import build_sam2; build_sam2("{}", None, device="cpu")'
TINY = METAS_OWN.format("configs/sam2/sam2_hiera_t.yaml")

CASES = {
    "an application that has not used Hydra finds it unused": (
        "from hydra.version import VersionBase; before = VersionBase.instance().getbase()",
        "assert not GlobalHydra.instance().is_initialized()\n"
        "assert VersionBase.instance().getbase() is before",
    ),
    "an application may initialise Hydra afterwards": (
        "",
        'initialize_config_module("hydra.conf", version_base="1.1")\n'
        "assert GlobalHydra.instance().is_initialized()",
    ),
    "an application that has initialised Hydra keeps its own": (
        "import hydra; hydra.initialize_config_module('hydra.conf', version_base='1.3')\n"
        "from hydra.core.global_hydra import GlobalHydra; mine = GlobalHydra.instance().hydra",
        "assert GlobalHydra.instance().hydra is mine\n"
        "assert str(VersionBase.instance().getbase()) == '1.3'",
    ),
    "an application may use Meta's own builder afterwards": ("", TINY),
    "an application may have used Meta's own builder before": (TINY, TINY),
    "the package is not left half imported": (
        "",
        "assert not [name for name in sys.modules if name.split('.')[0] == 'sam2']\n"
        "import sam2.utils.misc; assert sam2.utils.misc.mask_to_box",
    ),
    "a second model is built from the same classes": (
        "",
        "model = build_model(meta_config('hiera_tiny'))\n"
        "other = build_model(meta_config('sam2.1_hiera_tiny'))\n"
        "assert type(model) is type(other)",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_state_is_left_alone(case: str) -> None:
    before, after = CASES[case]
    code = "\n".join([before, BUILD, after])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
