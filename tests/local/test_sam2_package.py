"""Building a model leaves Hydra, and the name `sam2`, to the application."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sam2_block.errors import CheckpointInvalidError
from sam2_block.sam2 import sam2_package

BUILD = """
from sam2_block.backends.local.models.model_loading import build_model, meta_config
model = build_model(meta_config("hiera_tiny"))
import sys
from hydra import initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.version import VersionBase
"""
METAS_OWN = 'from sam2.build_sam import build_sam2; build_sam2("{}", None, device="cpu")'
TINY = METAS_OWN.format("configs/sam2/sam2_hiera_t.yaml")
TINY_21 = METAS_OWN.format("configs/sam2.1/sam2.1_hiera_t.yaml")

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
    "the application's modules are not ours, and stay": (
        "import sam2.modeling.sam2_base as theirs",
        "assert sys.modules['sam2.modeling.sam2_base'] is theirs\n"
        "assert type(model) is not theirs.SAM2Base",
    ),
    "the public name is not used": (
        "",
        "assert not [name for name in sys.modules if name.split('.')[0] == 'sam2']\n"
        "import sam2.utils.misc; assert sam2.utils.misc.mask_to_box",
    ),
    "a second model is built from the same classes": (
        "",
        "assert type(model) is type(build_model(meta_config('sam2.1_hiera_tiny')))",
    ),
    "both builders work at once, each for the first time": (
        "import threading, torch, hydra, omegaconf\n"
        "start, failed = threading.Barrier(6), []\n"
        "def theirs():\n"
        "    start.wait()\n"
        f"    {TINY}\n"
        "def ours():\n"
        "    start.wait()\n"
        "    from sam2_block.backends.local.models.model_loading import build_model, meta_config\n"
        "    build_model(meta_config('hiera_tiny'))\n"
        "threading.excepthook = lambda hook: failed.append(hook.exc_value)\n"
        "threads = [threading.Thread(target=call) for call in (ours, ours, theirs, ours, ours)]\n"
        "for thread in threads: thread.start()\n"
        "start.wait()\n"
        "for thread in threads: thread.join()\n"
        "assert not failed, failed",
        TINY,
    ),
}


def run(code: str, **environment: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("case", CASES)
def test_state_is_left_alone(case: str) -> None:
    before, after = CASES[case]
    run("\n".join([before, BUILD, after]))


@pytest.mark.parametrize("file", ["sam2.py", "sam2/__init__.py"])
def test_something_else_of_that_name_may_come_first_on_the_path(file: str, tmp_path: Path) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("MINE = True")
    search = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    run(f"{BUILD}\nimport sam2; assert sam2.MINE", PYTHONPATH=search)


@pytest.mark.parametrize(
    ("config", "version"), [("sam2", "hiera_tiny"), ("sam2.1", "sam2.1_hiera_tiny")]
)
def test_models_are_those_of_metas_builder(config: str, version: str) -> None:
    from sam2.build_sam import build_sam2

    from sam2_block.backends.local.models.model_loading import build_model, meta_config

    theirs = build_sam2(f"configs/{config}/{config}_hiera_t.yaml", None, device="cpu")
    ours = build_model(meta_config(version))
    assert str(ours.eval()) == str(theirs)

    def plain(module: Any) -> dict[str, Any]:
        types = (bool, int, float, str)
        return {name: value for name, value in vars(module).items() if isinstance(value, types)}

    for (name, mine), (_, other) in zip(ours.named_modules(), theirs.named_modules(), strict=True):
        assert plain(mine) == plain(other), name


@pytest.fixture
def forgotten() -> Iterator[None]:
    """Look for the package's folder anew, now and afterwards."""
    sam2_package.package_folder.cache_clear()
    yield
    sam2_package.package_folder.cache_clear()


def distribution(folder: Path, name: str, direct_url: str | None = None) -> None:
    info = folder / f"{name.replace('-', '_')}-9.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 9.0\n")
    if direct_url is not None:
        (info / "direct_url.json").write_text(direct_url)


def package(folder: Path) -> Path:
    """Make the least of a package `sam2` that is taken for Meta's."""
    for name in sam2_package._EXPECTED_FILES:
        path = folder / "sam2" / name
        path.parent.mkdir(parents=True)
        path.touch()
    return folder / "sam2"


@pytest.mark.parametrize("name", ["rf-sam-2", "RF-SAM-2", "SAM-2"])
@pytest.mark.parametrize("editable", [True, False])
@pytest.mark.usefixtures("forgotten")
def test_the_distribution_says_where_the_package_is(
    name: str, editable: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site, project = tmp_path / "site", tmp_path / "a project"
    expected = package(project if editable else site)
    url = f'{{"url": "{project.as_uri()}", "dir_info": {{"editable": true}}}}'
    distribution(site, name, url if editable else None)
    monkeypatch.setattr(sam2_package, "_DISTRIBUTIONS", ("is-not-installed", name))
    monkeypatch.syspath_prepend(str(site))
    assert sam2_package.package_folder() == expected


@pytest.mark.usefixtures("forgotten")
def test_a_package_without_metadata_is_found_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = package(tmp_path / "second")
    (tmp_path / "first" / "sam2").mkdir(parents=True)  # somebody else's
    monkeypatch.setattr(sam2_package, "_DISTRIBUTIONS", ())
    monkeypatch.setattr(sys, "path", [str(tmp_path / "first"), str(tmp_path / "second")])
    assert sam2_package.package_folder() == expected


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "sam2.build_sam.build_sam2",
        "sam2.modeling.sam2_base.torch",
        "sam2.modeling.sam2_base.MaskDecoder",  # of another module
        "sam2.modeling.sam2_utils.get_clones",  # no class
        "sam2.modeling.no_such_module.Module",
        "sam2.modeling.sam2_base",
        "",
        None,
        7,
    ],
)
def test_a_configuration_names_metas_classes_only(target: Any) -> None:
    with pytest.raises(CheckpointInvalidError, match=r"expected classes of sam2\.modeling only"):
        sam2_package.build({"list": [{"_target_": target}]})


@pytest.mark.parametrize(
    ("source", "renamed"),
    [
        ("from sam2.modeling.sam import a, b as c", "from OWN.modeling.sam import a, b as c"),
        ("from sam2 import modeling", "from OWN import modeling"),
        ("import sam2.modeling.sam as s", "import OWN.modeling.sam\nimport OWN.modeling.sam as s"),
        ("import sam2.modeling", "import OWN.modeling\nimport OWN as sam2"),
        ("import sam2, torch", "import OWN\nimport OWN as sam2\nimport torch"),
        ("from sam2_other import a", "from sam2_other import a"),
        ("from . import sam2", "from . import sam2"),
        ("def f():\n    from sam2 import _C", "def f():\n    from OWN import _C"),
    ],
)
def test_every_form_of_import_is_renamed(source: str, renamed: str) -> None:
    tree = sam2_package._ImportRenamer().visit(ast.parse(source))
    assert ast.unparse(tree) == renamed.replace("OWN", sam2_package.OWN_NAME)
