"""Checkpoints of Meta's configurations with random weights, made once a session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sam2_block.backends.local.models.checkpoints import find_checkpoint
from sam2_block.backends.local.models.model_loading import build_model, meta_config
from sam2_block.settings import LocalSettings
from sam2_block.versions import META_RELEASES


@pytest.fixture(scope="session")
def checkpoint_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("checkpoints")


@pytest.fixture(scope="session")
def random_checkpoint(checkpoint_dir: Path) -> Callable[[str], Path]:
    """Return a function that writes a version's checkpoint, in Meta's format and name."""

    def write(version: str) -> Path:
        path = checkpoint_dir / META_RELEASES[version].checkpoint_file
        if not path.exists():
            torch.manual_seed(0)
            torch.save({"model": build_model(meta_config(version)).state_dict()}, path)
        return path

    return write


@pytest.fixture(scope="session")
def cpu_settings(checkpoint_dir: Path) -> LocalSettings:
    return LocalSettings(device="cpu", precision="fp32", checkpoint_dir=checkpoint_dir)


@pytest.fixture(scope="session")
def checkpoint_of(
    random_checkpoint: Callable[[str], Path], cpu_settings: LocalSettings
) -> Callable[[str], Path]:
    """Return a function that gives a version's checkpoint: the demo's own, or random weights."""

    def find(version: str) -> Path:
        if version in META_RELEASES:
            return random_checkpoint(version)
        return find_checkpoint(version, cpu_settings)

    return find
