"""Folders that a run works in, and the environment of its workers."""

from __future__ import annotations

import json
import os
import site
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
MODEL_FILE = "sam2_hiera_tiny.pt"  # Meta's own name

# What a server of Roboflow's wants beside a model package's weights.
_PACKAGE = {
    "sam_configuration.json": {"version": "sam2_hiera_t"},
    "model_config.json": {
        "model_architecture": "sam2",
        "task_type": "interactive-instance-segmentation",
        "backend_type": "torch",
    },
}
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
        package = self.work / "sam2" / "hiera_tiny"
        package.mkdir(parents=True)
        (package / "model.pt").symlink_to((self.weights / MODEL_FILE).resolve())
        for name, content in _PACKAGE.items():
            (package / name).write_text(json.dumps(content))

    def environment(self, precision: str) -> dict[str, str]:
        """Return a worker's environment: without keys, network and GPU, caches in `scratch`."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(_DROPPED) and name != "ROBOFLOW_API_KEY"
        }
        folders = {
            name: self.scratch / "home" / place
            for name, place in {
                "HOME": "",
                "TMPDIR": "tmp",
                "MODEL_CACHE_DIR": "models",
                "INFERENCE_HOME": "models",
                "HF_HOME": "huggingface",
                "MPLCONFIGDIR": "matplotlib",
                "YOLO_CONFIG_DIR": "ultralytics",
                "ORT_TENSORRT_CACHE_PATH": "models",
            }.items()
        }
        for folder in folders.values():
            folder.mkdir(parents=True, exist_ok=True)
        search = [str(REPOSITORY), str(REPOSITORY / "tools"), os.environ.get("PYTHONPATH", "")]
        return {
            **kept,
            **{name: str(folder) for name, folder in folders.items()},
            "PYTHONPATH": os.pathsep.join(filter(None, search)),
            "PYTHONUSERBASE": site.getuserbase(),  # packages there are found in spite of HOME
            "PYTHONDONTWRITEBYTECODE": "1",
            "CUDA_VISIBLE_DEVICES": "",
            "ALLOW_INFERENCE_MODELS_DIRECTLY_ACCESS_LOCAL_PACKAGES": "True",
            "CORE_MODEL_SAM2_ENABLED": "True",
            "DISABLE_VERSION_CHECK": "True",
            "ENABLE_TENSOR_DATA_REPRESENTATION": "False",
            "HF_HUB_OFFLINE": "1",
            "INFERENCE_WARNINGS_DISABLED": "True",
            "LOG_LEVEL": "ERROR",
            "METRICS_ENABLED": "False",
            "OFFLINE_MODE": "True",
            "TELEMETRY_OPT_OUT": "True",
            "USE_INFERENCE_MODELS": "True",
            "WORKFLOWS_PLUGINS": "sam2_block",
            "SAM2_BLOCK_CHECKPOINT_DIR": str(self.weights.resolve()),
            "SAM2_BLOCK_DEVICE": "cpu",
            "SAM2_BLOCK_PRECISION": precision,
        }
