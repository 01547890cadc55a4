"""Masks in bf16 are those of single precision, nearly; docs/precisions.json has the large run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "compare_precisions.py"


@pytest.mark.slow
def test_200_masks_in_bf16_are_those_of_fp32() -> None:
    done = subprocess.run(
        [sys.executable, str(TOOL), "--prompts", "200"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])["all"]
    assert figures["prompts"] == 200
    assert 0.99 <= figures["mean_iou"] < 1  # 1 would say that nothing was in half precision
    assert figures["worst_iou"] >= 0.95
    assert figures["largest_score_difference"] < 0.02
