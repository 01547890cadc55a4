"""The examples, the photo that they work on, and where its coins truly are."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
import skimage.filters
import skimage.measure
import skimage.segmentation
from scipy import ndimage

EXAMPLES = Path(str(resources.files("sam2_block") / "examples"))
PROGRAMS = Path(__file__).parents[2] / "examples"

needs_demo_weights = pytest.mark.skipif(
    not (resources.files("sam2_block") / "weights" / "demo.safetensors").is_file(),
    reason="needs the demo checkpoint, sam2_block/weights/demo.safetensors",
)


def read_example(name: str) -> dict[str, Any]:
    definition: dict[str, Any] = json.loads((EXAMPLES / name).read_text())
    return definition


@pytest.fixture(scope="session")
def true_coins() -> np.ndarray:
    """`(24, 303, 384)` bool: each coin, by the watershed of scikit-image's own tutorial.

    https://scikit-image.org/docs/stable/auto_examples/applications/plot_coins_segmentation.html
    """
    photo = skimage.data.coins()
    markers = np.zeros(photo.shape, dtype=int)
    markers[photo < 30] = 1
    markers[photo > 150] = 2
    regions = skimage.segmentation.watershed(skimage.filters.sobel(photo), markers)
    labels, count = ndimage.label(ndimage.binary_fill_holes(regions - 1))
    masks = np.array([labels == label for label in range(1, count + 1)])
    masks = masks[masks.sum(axis=(1, 2)) > 100]  # two pixels of dust are one of the regions
    assert len(masks) == 24
    return masks


def best_ious(truths: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Return how well each true mask was found: its best intersection over union."""
    truths, found = (masks.reshape(len(masks), -1).astype(np.float32) for masks in (truths, found))
    both = truths @ found.T
    either = truths.sum(axis=1)[:, None] + found.sum(axis=1)[None] - both
    best: np.ndarray = (both / either).max(axis=1)
    return best
