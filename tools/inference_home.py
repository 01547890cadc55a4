"""What `inference` needs to work offline in folders of its own, with a SAM 2 model on its disk.

For the benchmark, and for the tests that run a server.
"""

from __future__ import annotations

import json
import site
from pathlib import Path

# What stands beside a model package's weights.
_PACKAGE = {
    "sam_configuration.json": {"version": "sam2_hiera_t"},
    "model_config.json": {
        "model_architecture": "sam2",
        "task_type": "interactive-instance-segmentation",
        "backend_type": "torch",
    },
}

_FOLDERS = {
    "HOME": "",
    "TMPDIR": "tmp",
    "MODEL_CACHE_DIR": "models",
    "INFERENCE_HOME": "models",
    "HF_HOME": "huggingface",
    "MPLCONFIGDIR": "matplotlib",
    "YOLO_CONFIG_DIR": "ultralytics",
    "ORT_TENSORRT_CACHE_PATH": "models",
}


def make_package(work_dir: Path) -> Path:
    """Describe hiera_tiny under a working directory.

    Returns:
        Where its weights belong.
    """
    package = work_dir / "sam2" / "hiera_tiny"
    package.mkdir(parents=True)
    for name, content in _PACKAGE.items():
        (package / name).write_text(json.dumps(content))
    return package / "model.pt"


def offline_environment(home: Path) -> dict[str, str]:
    """Return the variables that keep `inference` and this plugin to a folder, and make it."""
    folders = {name: home / place for name, place in _FOLDERS.items()}
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    return {
        **{name: str(folder) for name, folder in folders.items()},
        "PYTHONUSERBASE": site.getuserbase(),  # packages there are found in spite of the new HOME
        "PYTHONDONTWRITEBYTECODE": "1",
        "ALLOW_INFERENCE_MODELS_DIRECTLY_ACCESS_LOCAL_PACKAGES": "True",
        "CORE_MODEL_SAM2_ENABLED": "True",
        "USE_INFERENCE_MODELS": "True",
        "OFFLINE_MODE": "True",
        "HF_HUB_OFFLINE": "1",
        "METRICS_ENABLED": "False",
        "TELEMETRY_OPT_OUT": "True",
        "WORKFLOWS_PLUGINS": "sam2_block",
    }
