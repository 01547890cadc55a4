"""Folders that a run works in, and the environment of its workers."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from inference_home import make_package, offline_environment

REPOSITORY = Path(__file__).resolve().parents[2]
MODEL_FILE = "sam2_hiera_tiny.pt"  # Meta's own name

_DROPPED = ("SAM2_BLOCK_", "WORKFLOWS_", "XDG_", "HF_", "_ROBOFLOW_INFERENCE_", "CUDA_", "API_KEY")


@dataclass(frozen=True)
class Places:
    """Where things are.

    Attributes:
        weights: Folder with `MODEL_FILE`.
        scratch: An empty folder, outside which workers write nothing.
    """

    weights: Path
    scratch: Path

    @property
    def work(self) -> Path:
        """The working directory of the workers, with the model as the built-in block finds it."""
        return self.scratch / "work"

    def lay_out(self) -> None:
        """Make the working directory."""
        make_package(self.work).symlink_to((self.weights / MODEL_FILE).resolve())

    def environment(self, precision: str) -> dict[str, str]:
        """Return a worker's environment: without keys, network and GPU, caches in `scratch`."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(_DROPPED) and name != "ROBOFLOW_API_KEY"
        }
        search = [str(REPOSITORY), str(REPOSITORY / "tools"), os.environ.get("PYTHONPATH", "")]
        return {
            **kept,
            **offline_environment(self.scratch / "home"),
            "PYTHONPATH": os.pathsep.join(filter(None, search)),
            "CUDA_VISIBLE_DEVICES": "",
            "DISABLE_VERSION_CHECK": "True",
            "ENABLE_TENSOR_DATA_REPRESENTATION": "False",
            "INFERENCE_WARNINGS_DISABLED": "True",
            "LOG_LEVEL": "ERROR",
            "SAM2_BLOCK_CHECKPOINT_DIR": str(self.weights.resolve()),
            "SAM2_BLOCK_DEVICE": "cpu",
            "SAM2_BLOCK_PRECISION": precision,
        }
