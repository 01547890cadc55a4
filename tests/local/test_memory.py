"""Many boxes or points on an image stay within the promised working memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "measure_memory.py"


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="reads the kernel's count in /proc"),
]


def measure(**counts: int) -> dict[str, float]:
    """Return the tool's figures, in MiB.

    From a process of its own: the peak of this one has long been passed by other tests.
    """
    options = [str(part) for name, count in counts.items() for part in (f"--{name}", count)]
    done = subprocess.run([sys.executable, str(TOOL), *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def test_200_boxes_on_a_4000x3000_image_stay_under_512_mib() -> None:
    figures = measure(boxes=200, width=4000, height=3000)
    assert figures["mask_coverage"] > 0.1  # else there was nothing to upsample
    assert figures["working_memory"] < 512, figures


def test_memory_does_not_grow_with_the_number_of_objects_of_many_points() -> None:
    one, six = (measure(boxes=0, objects=n, points=1000, width=800, height=600) for n in (1, 6))
    # Some 300 MiB where batches do not count tokens; 70 to 120 where they do.
    assert six["model_peak"] - one["model_peak"] < 200, (one, six)
