"""The rows of the table on a GPU: `--device cuda`. Printed only, and not yet run on a GPU."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import torch

from benchmark import report
from benchmark.machine import commit
from benchmark.places import Places
from benchmark.processes import WorkerProcess
from benchmark.table import Row, Say, measure

# A worker's limit is on memory that it may write to, of which CUDA maps far more than it uses.
_NO_LIMIT = 2**62

_HEAD = """\
Seconds on {gpu}, PyTorch {torch}, commit {commit}: the median of the turns, their least and most;
and the memory that a turn of its own added on the host. New images are encoded, encoded ones only
decoded. The GPU has done all its work wherever the clock is read."""


def require_cuda() -> None:
    """End with one sentence where there is no GPU."""
    if not torch.cuda.is_available():
        raise SystemExit(
            "--device cuda needs a CUDA device: torch.cuda.is_available() is False here."
        )


def variables() -> dict[str, str]:
    """Return what a worker's environment has in place of the CPU's."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0")
    return {"SAM2_BLOCK_DEVICE": "cuda", "CUDA_VISIBLE_DEVICES": visible}


def measure_rows(
    rows: Sequence[Row], systems: Sequence[str], repeats: int, weights: Path, say: Say
) -> str:
    """Measure rows with all systems in turn and return the table."""
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        places = Places(weights, Path(scratch))
        places.lay_out()
        workers = {}
        for name in systems:
            workers[name] = WorkerProcess(name, places, _NO_LIMIT, variables())
            stack.callback(workers[name].end)
        measured = [measure(row, workers, repeats, seed, say) for seed, row in enumerate(rows, 1)]
    head = _HEAD.format(gpu=torch.cuda.get_device_name(0), torch=torch.__version__, commit=commit())
    return f"{head}\n\n{report.times(measured)}\n"
