"""Execution on a server, in tensor mode: what is sent, and what comes back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tests.engine.workflows import mask_of, run, segment, workflow
from tests.tensor.native import masks
from tests.unit.remote.fake_endpoint import FakeEndpoint

BGR = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
TENSOR = torch.from_numpy(BGR[..., ::-1].copy()).permute(2, 0, 1)


@pytest.mark.parametrize("image", [BGR, TENSOR], ids=["numpy", "tensor"])
def test_server_sees_the_pixels_once_and_its_masks_come_back(image: Any) -> None:
    endpoint = FakeEndpoint()
    definition = workflow(
        {"type": "sam2_block/embed@v1", "name": "embed", "images": "$inputs.image"},
        segment(images="$steps.embed.image", points=[[20, 10]], version="hiera_tiny"),
    )
    (result,) = run(definition, endpoint.backend(), image)
    (sent,) = endpoint.images.values()
    np.testing.assert_array_equal(sent, BGR)
    assert endpoint.uploads == 1
    np.testing.assert_array_equal(masks(result["predictions"]), [mask_of(60, 80, (20, 10, 21, 11))])
