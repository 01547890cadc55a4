"""What every test shares: a quiet process without a network, two photos, and boxes of coins.

The engine freezes its configuration when it is first imported, so the environment is set here,
before any test module is imported, and `inference.core` (where installed) configures it first.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
import supervision as sv

from sam2_block.backends.fake import FakeBackend
from sam2_block.masks import arrays as mask_arrays
from sam2_block.masks import compact as compact_masks

os.environ.update(
    WORKFLOWS_PLUGINS="sam2_block",
    HF_HUB_OFFLINE="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    TELEMETRY_USE_PERSISTENT_QUEUE="False",
    METRICS_ENABLED="False",
    DISABLE_VERSION_CHECK="True",
    INFERENCE_WARNINGS_DISABLED="True",
    CORE_MODEL_GAZE_ENABLED="False",
    OMP_WAIT_POLICY="PASSIVE",  # two workers share the cores: a thread that waits leaves its core
)
# What an operator may have set for other work; the folder of Meta's checkpoints is for the tests.
OPERATORS = (
    *("SAM2_BLOCK_", "WORKFLOWS_", "LOCAL_INFERENCE_", "ROBOFLOW_API_KEY", "API_KEY"),
    *("OFFLINE_MODE", "_ROBOFLOW_INFERENCE_OFFLINE", "SECURE_GATEWAY", "LICENSE_SERVER"),
)
KEPT = ("SAM2_BLOCK_CHECKPOINT_DIR", "WORKFLOWS_PLUGINS")
for name in list(os.environ):
    if (name.startswith(OPERATORS) and name not in KEPT) or name.lower().endswith("_proxy"):
        del os.environ[name]

with contextlib.suppress(ModuleNotFoundError):
    import inference.core  # noqa: F401


def pytest_configure(config: pytest.Config) -> None:
    """Keep the deprecations inside other people's packages out of the report."""
    for category in ("DeprecationWarning", "FutureWarning"):
        config.addinivalue_line("filterwarnings", f"ignore::{category}:(?!sam2_block|tests)")


# Folders whose modules take longest run first, so that parallel workers finish at the same time.
LONGEST_FIRST = ("remote", "local", "fork", "pipeline", "examples", "engine")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the tests by folder."""

    def rank(item: pytest.Item) -> int:
        folder = item.path.relative_to(Path(__file__).parent).parts[0]
        return (*LONGEST_FIRST, folder).index(folder)

    items.sort(key=rank)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give each worker whole modules, and one of them all that use the real server."""
    from xdist.scheduler import LoadScopeScheduling

    class ByModule(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            module = nodeid.partition("::")[0]
            return "tests/remote" if module.startswith("tests/remote/") else module

    return ByModule(config, log)


@pytest.fixture
def no_dense_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse dense masks; they are mapped memory, which `tracemalloc` does not see."""

    def refuse(*arguments: object) -> None:
        raise AssertionError("dense masks are made")

    monkeypatch.setattr(mask_arrays, "blank_masks", refuse)
    monkeypatch.setattr(compact_masks, "blank_masks", refuse)


@pytest.fixture(scope="session")
def coins() -> np.ndarray:
    """`(303, 384, 3)` BGR: 24 coins. Read-only, as it is shared."""
    photo = np.repeat(skimage.data.coins()[..., None], 3, axis=2)
    photo.flags.writeable = False
    return photo


@pytest.fixture(scope="session")
def astronaut() -> np.ndarray:
    """`(512, 512, 3)` BGR: a woman in a spacesuit. Read-only, as it is shared."""
    photo = np.ascontiguousarray(skimage.data.astronaut()[..., ::-1])
    photo.flags.writeable = False
    return photo


@pytest.fixture
def fake_backend() -> FakeBackend:
    return FakeBackend()


COIN_BOXES_XYXY = [[81, 39, 116, 74], [131, 28, 178, 75], [193, 29, 238, 74], [258, 33, 297, 72]]


@pytest.fixture(scope="session")
def coin_detections() -> Callable[[], sv.Detections]:
    """Make the detections of four coins of the photo, with a further column of each type."""

    def make() -> sv.Detections:
        notes = np.empty(4, dtype=object)
        notes[:] = [{"mint": "Athens"}, None, [1, 2], "worn"]
        return sv.Detections(
            xyxy=np.array(COIN_BOXES_XYXY, dtype=np.float32),
            confidence=np.array([0.9, 0.8, 0.7, 0.6], dtype=np.float32),
            class_id=np.array([3, 5, 3, 7]),
            tracker_id=np.array([11, 12, 13, 14]),
            data={
                "class_name": np.array(["coin", "token", "coin", "medal"]),
                "detection_id": np.array(["id-0", "id-1", "id-2", "id-3"]),
                "diameter": np.array([35.5, 47.0, 45.0, 39.0]),
                "metal": np.array(["bronze", "silver", "bronze", "gold"]),
                "is_cut": np.array([True, False, False, True]),
                "keypoints_xy": np.arange(16, dtype=np.float32).reshape(4, 2, 2),
                "note": notes,
            },
            metadata={"camera": "north"},
        )

    return make
