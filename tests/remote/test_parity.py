"""The answer of a server is the answer of this process, with the same weights."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import pytest
import skimage.data
import supervision as sv

from sam2_block import Segmenter
from sam2_block.backends.local.local_backend import LocalBackend
from sam2_block.backends.remote.endpoints import Endpoint
from sam2_block.backends.remote.remote_backend import RemoteBackend, RemoteService
from sam2_block.concurrent_map import map_concurrently
from sam2_block.prompts import LabeledPoint, Prompt
from sam2_block.settings import LocalSettings, RemoteSettings
from tests.remote.server import VERSION, Sam2Server


@pytest.fixture(scope="module")
def here(sam2_server: Sam2Server) -> Segmenter:
    settings = LocalSettings(
        device="cpu", precision="fp32", checkpoint_dir=sam2_server.checkpoint_dir
    )
    return Segmenter(VERSION, backend=LocalBackend(settings))


@pytest.fixture(scope="module")
def there(sam2_server: Sam2Server, swaps_channels: bool) -> Iterator[Segmenter]:
    """A server that hands SAM 2 blue for red gets red for blue."""
    settings = RemoteSettings(swap_channels=swaps_channels)
    service = RemoteService(settings)
    yield Segmenter(VERSION, backend=RemoteBackend(service, Endpoint(sam2_server.url)))
    service.close()


def boxes(*xyxy: tuple[float, float, float, float]) -> sv.Detections:
    return sv.Detections(xyxy=np.array(xyxy, dtype=np.float32).reshape(-1, 4))


def assert_same(ours: sv.Detections, theirs: sv.Detections) -> None:
    assert len(ours) == len(theirs) > 0
    assert ours.mask.shape == theirs.mask.shape
    shared = (ours.mask & theirs.mask).sum((1, 2))
    union = (ours.mask | theirs.mask).sum((1, 2))
    ious = np.where(union == 0, 1.0, shared / np.maximum(union, 1))
    assert ious.min() >= 0.99, ious.round(3)
    np.testing.assert_allclose(ours["sam2_score"], theirs["sam2_score"], atol=1e-3)
    assert 0 < ours.mask.mean() < 1  # or the comparison would say nothing


FACE, WHOLE, SMALL = (178, 74, 272, 190), (0, 0, 512, 400), (30.25, 200.5, 41.75, 215)
ONE, TWO = [[210, 120]], [[210, 120], [60, 300, False]]
PROMPTS = {
    "one box": (boxes(FACE), None),
    "boxes": (boxes(FACE, WHOLE, SMALL), None),
    "a point": (None, [ONE]),
    "points, one negative": (None, [TWO]),
    "objects of different numbers of points": (None, [ONE, TWO, [[300, 200]], TWO[::-1]]),
    "boxes and points": (boxes(SMALL, FACE), [TWO, ONE]),
}


@pytest.mark.parametrize("multimask_output", [True, False])
@pytest.mark.parametrize("name", PROMPTS)
def test_masks_and_scores_are_the_same(
    here: Segmenter, there: Segmenter, astronaut: np.ndarray, name: str, multimask_output: bool
) -> None:
    photo = astronaut[:400]  # not square, so that swapped axes show
    detections, points = PROMPTS[name]
    assert_same(
        *(
            place.segment(photo, detections, points, multimask_output=multimask_output)
            for place in (here, there)
        )
    )


@pytest.mark.parametrize("multimask_output", [True, False])
def test_box_with_points_on_one_object(
    here: Segmenter, there: Segmenter, astronaut: np.ndarray, multimask_output: bool
) -> None:
    photo = astronaut[:400]
    inside, outside = LabeledPoint(210, 120), LabeledPoint(60, 300, positive=False)
    prompts = [
        Prompt(box_xyxy=FACE, points=(inside,)),
        Prompt(box_xyxy=FACE, points=(inside, outside)),
        Prompt(box_xyxy=WHOLE, points=(outside,)),
    ]
    ours, theirs = (
        place.backend.predict(photo, prompts, version=VERSION, multimask_output=multimask_output)
        for place in (here, there)
    )
    for one, other in zip(ours, theirs, strict=True):
        assert one.score == pytest.approx(other.score, abs=1e-3)
        masks = np.zeros((2, *photo.shape[:2]), dtype=bool)
        one.mask().paste_into(masks[0])
        other.mask().paste_into(masks[1])
        assert (masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum() >= 0.99


@pytest.mark.slow
def test_150_prompts_in_order(here: Segmenter, there: Segmenter, coins: np.ndarray) -> None:
    rng = np.random.default_rng(3)
    corners = rng.uniform((0, 0), (340, 260), (150, 2))
    many = boxes(*np.hstack([corners, corners + rng.uniform(8, 40, (150, 2))])[:120])
    points = [[corner] for corner in corners[120:].tolist()]
    assert_same(here.segment(coins, many, points), there.segment(coins, many, points))


@pytest.mark.slow
def test_5_images_at_once(here: Segmenter, there: Segmenter) -> None:
    photos = [
        np.ascontiguousarray(photo[..., ::-1])
        for photo in (
            skimage.data.astronaut(),
            skimage.data.coffee(),
            skimage.data.chelsea(),
            skimage.data.rocket(),
        )
    ]
    images = [*photos, cv2.flip(photos[0], 1)[:200]]
    detections = boxes((20, 30, 150, 160), (100, 20, 180, 90))
    theirs = map_concurrently(lambda image: there.segment(image, detections), images, 5)
    for image, rows in zip(images, theirs, strict=True):
        assert_same(here.segment(image, detections), rows)


@pytest.mark.parametrize("shape", [(1, 1), (3, 700), (240, 320)], ids=str)
def test_grey_images_of_any_shape(
    here: Segmenter, there: Segmenter, shape: tuple[int, int]
) -> None:
    height, width = shape
    image = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    points = [[[width // 2, height // 2]], [[0, 0]]]
    whole = boxes((0, 0, width, height))
    ours, theirs = (place.segment(image, whole, points) for place in (here, there))
    assert len(theirs) == 3
    np.testing.assert_allclose(ours["sam2_score"], theirs["sam2_score"], atol=1e-3)
    assert (ours.mask != theirs.mask).mean() < 0.01
