"""Importing the plugin costs nothing and needs nothing; the engine does it on every server."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap

import pytest
from roboflow_workflows.prototypes.block import WorkflowBlock

import sam2_block
from sam2_block.settings import SETTING_NAMES

HEAVY = ("torch", "sam2", "roboflow_workflows", "inference", "supervision", "cv2", "hydra")
INITIALIZERS = [*SETTING_NAMES, "backend"]


def in_new_process(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_import_brings_nothing_heavy_and_says_nothing() -> None:
    done = in_new_process(
        """
        import json, sys
        import sam2_block
        json.dump(sorted({name.partition(".")[0] for name in sys.modules}), sys.stdout)
        """
    )
    assert (done.returncode, done.stderr) == (0, "")
    imported = set(json.loads(done.stdout))
    assert "sam2_block" in imported
    assert imported.isdisjoint({*HEAVY, "numpy", "pydantic", "huggingface_hub", "pycocotools"})


def test_import_works_where_nothing_else_is_installed() -> None:
    done = in_new_process(
        """
        import sys

        class Absent:
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] in sys.argv[1:]:
                    raise ModuleNotFoundError(f"No module named {name!r}", name=name)

        sys.meta_path.insert(0, Absent())
        import sam2_block
        print(*sam2_block.REGISTERED_INITIALIZERS)
        print(*(make() for make in sam2_block.REGISTERED_INITIALIZERS.values()))
        try:
            sam2_block.load_blocks()
        except ModuleNotFoundError as error:
            print("missing", error.name.partition(".")[0] in sys.argv[1:])
        """,
        *HEAVY,
    )
    assert (done.returncode, done.stderr) == (0, "")
    names, values, missing = done.stdout.splitlines()
    assert names.split() == INITIALIZERS
    assert values.split()[:2] == ["auto", "auto"]
    assert missing == "missing True"


def test_loading_the_blocks_loads_neither_the_model_code_nor_that_of_tensor_mode() -> None:
    # The engine imports torch by itself.
    done = in_new_process(
        """
        import sys
        import sam2_block
        assert sam2_block.load_blocks()
        unwanted = {"sam2", "hydra", "inference", "huggingface_hub"}
        unwanted |= {"sam2_block.blocks.engine.native"}
        print(*unwanted & set(sys.modules))
        """
    )
    assert (done.returncode, done.stdout.split()) == (0, []), done.stderr


def test_blocks_are_a_list_of_blocks() -> None:
    blocks = sam2_block.load_blocks()
    assert type(blocks) is list
    assert [block.__name__ for block in blocks] == ["SegmentBlockV1", "EmbedBlockV1"]
    assert all(issubclass(block, WorkflowBlock) for block in blocks)


def test_initializers_are_functions_without_arguments() -> None:
    assert list(sam2_block.REGISTERED_INITIALIZERS) == INITIALIZERS
    for name, make in sam2_block.REGISTERED_INITIALIZERS.items():
        # The engine would call a value that can itself be called.
        assert not callable(make()), name
        # Memoised: it is called once a step.
        assert make() is make(), name


def test_names_of_the_package() -> None:
    assert sam2_block.Segmenter.__name__ == "Segmenter"
    for name in sam2_block.__all__:
        assert hasattr(sam2_block, name)
    with pytest.raises(AttributeError, match="'sam2_block' has no attribute 'Segmentor'"):
        _ = sam2_block.Segmentor
