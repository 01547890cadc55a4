"""`Segmenter` with a device, a checkpoint of one's own, and a model loaded ahead."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sam2_block import Segmenter
from sam2_block.backends.local.models.model_registry import MODELS
from sam2_block.errors import CheckpointNotFoundError, OptionError, SettingsError

BOX = [[81, 39, 116, 74]]


def test_own_checkpoint(random_checkpoint: Callable[[str], Path], coins: np.ndarray) -> None:
    path = random_checkpoint("hiera_tiny")
    own = Segmenter("hiera_tiny", checkpoint=path, device="cpu")
    expected = own.segment(coins, BOX).mask
    assert str(path) in repr(own)
    # Under Meta's name in the operator's folder it is the same model.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAM2_BLOCK_CHECKPOINT_DIR", str(path.parent))
        metas = Segmenter("hiera_tiny", device="cpu").segment(coins, BOX).mask
    np.testing.assert_array_equal(expected, metas)
    copied = pickle.loads(pickle.dumps(own))
    np.testing.assert_array_equal(copied.segment(coins, BOX).mask, expected)
    for segmenter in (own, copied):
        segmenter.close()


def test_what_was_given_is_checked_when_the_segmenter_is_made(tmp_path: Path) -> None:
    with pytest.raises(CheckpointNotFoundError, match=r"^checkpoint: there is no file .*own\.pt"):
        Segmenter("hiera_tiny", checkpoint=tmp_path / "own.pt")
    with pytest.raises(SettingsError, match=r"^SAM2_BLOCK_DEVICE: expected"):
        Segmenter("hiera_tiny", device="gpu")
    with pytest.raises(SettingsError, match=r"^SAM2_BLOCK_DEVICE: expected an available device"):
        Segmenter("hiera_tiny", device="cuda:99")
    backend = Segmenter("demo", device="cpu").backend
    with pytest.raises(OptionError, match="no effect where a backend is given"):
        Segmenter("demo", device="cpu", backend=backend)


def test_preload_loads_the_model_and_close_frees_it() -> None:
    def loaded() -> set[str]:
        return {key[0] for key in MODELS._entries}

    segmenter = Segmenter("demo", device="cpu")
    segmenter.preload()
    assert "demo" in loaded()
    segmenter.close()


def test_demo_warns_once_where_it_is_made() -> None:
    with pytest.warns(UserWarning, match="'demo' is a small model for demos") as caught:
        Segmenter("demo")
    assert [warning.filename for warning in caught] == [__file__]
