"""Many boxes on a large image stay within the promised working memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "measure_memory.py"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the kernel's count in /proc")
def test_200_boxes_on_a_4000x3000_image_stay_under_512_mib() -> None:
    # A process of its own: the peak of this one has long been passed by other tests.
    done = subprocess.run(
        [sys.executable, str(TOOL), "--boxes", "200", "--width", "4000", "--height", "3000"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["mask_coverage"] > 0.1  # else there was nothing to upsample
    assert figures["working_memory"] < 512, figures
