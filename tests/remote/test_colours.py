"""Today's servers hand SAM 2 blue for red; the setting `swap_channels` makes up for it."""

from __future__ import annotations

from importlib import metadata

import numpy as np
import pytest

from sam2_block.backends.local.local_backend import LocalBackend
from sam2_block.backends.select import choose_backend
from sam2_block.prompts import Prompt
from sam2_block.settings import LocalSettings, Settings
from tests.remote.server import VERSION, Sam2Server

PROMPTS = [
    Prompt(box_xyxy=(178.0, 74.0, 272.0, 190.0)),
    Prompt(box_xyxy=(275.0, 285.0, 505.0, 505.0)),
]


def scores(backend: object, photo: np.ndarray) -> np.ndarray:
    answers = backend.predict(photo, PROMPTS, version=VERSION, multimask_output=True)
    return np.array([answer.score for answer in answers])


def test_server_swaps_colours_and_the_setting_swaps_them_back(
    sam2_server: Sam2Server, swaps_channels: bool, astronaut: np.ndarray
) -> None:
    if not swaps_channels:
        assert metadata.version("inference") != "1.8.3", "the README says otherwise"
        pytest.skip("this release of `inference` hands SAM 2 the right colours")
    here = LocalBackend(
        LocalSettings(device="cpu", precision="fp32", checkpoint_dir=sam2_server.checkpoint_dir)
    )
    right, swapped = scores(here, astronaut), scores(here, astronaut[..., ::-1])
    assert np.abs(right - swapped).max() > 1e-3  # or nothing could be told apart
    plain = choose_backend(Settings().override(api_url=sam2_server.url), "remote")
    np.testing.assert_allclose(scores(plain, astronaut), swapped, atol=1e-4)
    settings = Settings().override(api_url=sam2_server.url, swap_channels=True)
    made_up_for = choose_backend(settings, "remote")
    np.testing.assert_allclose(scores(made_up_for, astronaut), right, atol=1e-4)
