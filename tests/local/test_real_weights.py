"""Meta's own weights, where the machine has them: the masks are what a person would draw."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import supervision as sv

from sam2_block import Segmenter
from sam2_block.backends.local.local_backend import LocalBackend
from sam2_block.backends.local.models.checkpoints import find_checkpoint
from sam2_block.settings import Settings
from sam2_block.versions import META_RELEASES


@pytest.mark.real_weights
@pytest.mark.parametrize("version", META_RELEASES)
def test_a_face_and_a_coin(version: str, astronaut: np.ndarray, coins: np.ndarray) -> None:
    settings = Settings.from_environment().local
    if find_checkpoint(version, settings) is None:
        pytest.skip(
            f"needs Meta's weights of {version}: set SAM2_BLOCK_CHECKPOINT_DIR, or run"
            f" `sam2-block models fetch {version}` while online"
        )
    segmenter = Segmenter(version, backend=LocalBackend(settings))
    face = _segment(segmenter, astronaut, [170, 60, 280, 200])
    coin = _segment(segmenter, coins, [131, 28, 178, 75])
    for rows, (x, y), share in ((face, (225, 120), 0.5), (coin, (154, 51), 0.7)):
        left, top, right, bottom = rows.xyxy[0]
        assert rows.mask[0, y, x]
        assert rows.mask[0].sum() >= share * (right - left) * (bottom - top)
        assert rows.data["sam2_score"][0] > 0.7


def _segment(segmenter: Segmenter, photo: np.ndarray, box: list[float]) -> Any:
    return segmenter.segment(photo, sv.Detections(xyxy=np.array([box], dtype=np.float32)))
