"""`Segmenter.segment_many` and `Segmenter.embed`, above the backend."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import supervision as sv

from sam2_block import Segmenter
from sam2_block.backends.fake import FakeBackend
from sam2_block.errors import ClosedError, ImageError, OptionError

BOXES = sv.Detections(xyxy=np.array([[10.0, 20.0, 30.0, 60.0], [1.0, 1.0, 9.0, 5.0]]))


def photos(count: int) -> Iterator[np.ndarray]:
    for number in range(count):
        yield np.full((100, 200 + number, 3), number, np.uint8)


def test_many_images_give_what_each_gives_alone() -> None:
    segmenter = Segmenter("demo", backend=FakeBackend())
    requests = [(photo, BOXES[: n % 3], [(5 + n, 6)]) for n, photo in enumerate(photos(7))]
    many = list(segmenter.segment_many(iter(requests), confidence_source="detector"))
    for request, rows in zip(requests, many, strict=True):
        alone = segmenter.segment(*request, confidence_source="detector")
        np.testing.assert_array_equal(rows.mask, alone.mask)
        np.testing.assert_array_equal(rows.xyxy, alone.xyxy)
        np.testing.assert_array_equal(rows.confidence, alone.confidence)


def test_nothing_gives_nothing() -> None:
    assert list(Segmenter("demo", backend=FakeBackend()).segment_many([])) == []


def test_an_image_that_cannot_be_used_raises_in_its_turn() -> None:
    backend = FakeBackend()
    requests = [(next(photos(1)), BOXES), ("photo.png", BOXES), (next(photos(1)), BOXES)]
    results = Segmenter("demo", backend=backend).segment_many(requests)
    assert len(next(results)) == 2
    with pytest.raises(ImageError):
        next(results)


@pytest.mark.parametrize("request_", [next(photos(1)), (), (1, 2, 3, 4), [next(photos(1)), BOXES]])
def test_a_request_is_a_tuple_of_arguments(request_: object) -> None:
    results = Segmenter("demo", backend=FakeBackend()).segment_many([request_])  # type: ignore[list-item]
    with pytest.raises(OptionError, match=r"requests: expected \(image, boxes\) or"):
        next(results)


def test_unknown_options_are_refused() -> None:
    results = Segmenter("demo", backend=FakeBackend()).segment_many(
        [(next(photos(1)), BOXES)],
        treshold=0.5,  # type: ignore[call-arg]
    )
    with pytest.raises(TypeError, match="treshold"):
        next(results)


def test_a_closed_segmenter_segments_no_more_of_them() -> None:
    segmenter = Segmenter("demo", backend=FakeBackend())
    results = segmenter.segment_many((photo, BOXES) for photo in photos(20))
    next(results)
    segmenter.close()
    with pytest.raises(ClosedError):
        list(results)
    with pytest.raises(ClosedError):
        segmenter.segment_many([])


def test_embed_encodes_the_image_as_segment_sees_it() -> None:
    backend = FakeBackend()
    segmenter = Segmenter("demo", backend=backend)
    segmenter.embed(np.zeros((40, 60, 4), np.uint8))
    assert backend.embedded == [(40, 60, 3)]
    with pytest.raises(ImageError):
        segmenter.embed("photo.png")  # type: ignore[arg-type]
    segmenter.close()
    with pytest.raises(ClosedError):
        segmenter.embed(np.zeros((40, 60, 3), np.uint8))
