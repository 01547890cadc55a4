"""The example of Roboflow's docs on SAM 2, with their client and with ours: the same mask.

One positive point at (300, 250), polygons filled into a mask, a box from the mask, detections, and
an annotated picture.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data
import supervision as sv
from inference_sdk import InferenceConfiguration, InferenceHTTPClient

from sam2_block import Segmenter
from tests.remote.server import VERSION, Sam2Server

EXAMPLE = Path(__file__).parents[2] / "examples" / "remote_library_script.py"
POINT = {"x": 300, "y": 250, "positive": True}


@pytest.fixture(scope="module")
def coffee() -> np.ndarray:
    return np.ascontiguousarray(skimage.data.coffee()[..., ::-1])


def filled(polygons: list[list[list[int]]], image_hw: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(image_hw, np.uint8)
    for polygon in polygons:
        cv2.fillPoly(mask, [np.array(polygon, np.int32)], 1)
    return mask.astype(bool)


def without_holes(mask: np.ndarray) -> np.ndarray:
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return filled([contour[:, 0].tolist() for contour in contours], mask.shape)


def test_their_client_and_ours_get_the_same_mask(
    sam2_server: Sam2Server, coffee: np.ndarray
) -> None:
    client = InferenceHTTPClient(api_url=sam2_server.url, api_key="any")
    client.configure(InferenceConfiguration(api_key_transport="both"))
    answer = client.sam2_segment_image(
        inference_input=coffee, sam2_version_id=VERSION, prompts=[{"points": [POINT]}]
    )
    (prediction,) = answer["predictions"]
    theirs = filled(prediction["masks"], coffee.shape[:2])
    documented = sv.Detections(
        xyxy=sv.mask_to_xyxy(theirs[None]),
        mask=theirs[None],
        class_id=np.zeros(1, int),
        confidence=np.array([prediction["confidence"]]),
    )

    ours = Segmenter.remote(VERSION, api_url=sam2_server.url).segment(coffee, points=[POINT])
    assert len(ours) == len(documented) == 1
    # Polygons have no holes; the RLE that we ask for keeps them.
    found = without_holes(ours.mask[0])
    assert (found & theirs).sum() / (found | theirs).sum() > 0.99
    np.testing.assert_allclose(ours.xyxy, documented.xyxy, atol=1)
    np.testing.assert_allclose(ours.confidence, documented.confidence, atol=1e-4)


def test_example_script_writes_the_picture(
    sam2_server: Sam2Server, coffee: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAM2_BLOCK_API_URL", sam2_server.url)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE)])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    picture = cv2.imread(str(tmp_path / "output" / "remote_library_script.png"))
    assert picture.shape == coffee.shape
    assert (picture != coffee).any()
    assert [path.name for path in tmp_path.iterdir()] == ["output"]
