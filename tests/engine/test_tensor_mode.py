"""On a server in tensor mode the block refuses to run, and says why."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytest.importorskip("inference", reason="tensor mode is switched on by the host")

PROGRAM = """
    import inference.core
    import numpy as np
    from roboflow_workflows.environment import ENABLE_TENSOR_DATA_REPRESENTATION
    from roboflow_workflows.errors import StepExecutionError
    from sam2_block.backends.fake import FakeBackend
    from sam2_block.blocks.segment.v1 import SegmentManifestV1
    from tests.engine.workflows import run, segment, workflow

    assert ENABLE_TENSOR_DATA_REPRESENTATION
    step = segment(points=[[1, 2]])
    backend = FakeBackend()
    try:
        run(workflow(step), backend, np.zeros((6, 8, 3), dtype=np.uint8))
    except StepExecutionError as error:
        print(error)
        print(type(error.inner_error).__name__)
    print(len(backend.calls))
    print(*[item.code for item in SegmentManifestV1(**step).get_actual_restrictions().items])
"""


def test_block_refuses_with_a_sentence() -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM)],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "ENABLE_TENSOR_DATA_REPRESENTATION": "True"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-4:] == [
        "sam2_block works on numpy images; this server runs with"
        " ENABLE_TENSOR_DATA_REPRESENTATION=True. Unset it and restart the server.",
        "SettingsError",
        "0",
        # The host that it is evaluated on now has the second restriction too.
        "plugin_not_installed_on_hosted_serverless unsupported_in_tensor_representation",
    ]
