from __future__ import annotations

import base64
from typing import Any

import cv2
import numpy as np
import pytest

from sam2_block.backends.remote.wire import ImageFormat, chunks, prompt_json
from sam2_block.prompts import LabeledPoint, Prompt
from sam2_block.settings import RemoteSettings

HW = (20, 30)
POINT, NEGATIVE = LabeledPoint(1.5, 2), LabeledPoint(3, 4, positive=False)
BOX = (10.0, 20.0, 13.0, 40.5)


@pytest.mark.parametrize(
    ("prompt", "wire"),
    [
        # The box is named by its centre.
        (Prompt(BOX), {"box": {"x": 11.5, "y": 30.25, "width": 3.0, "height": 20.5}}),
        (
            Prompt(points=(POINT, NEGATIVE)),
            {"points": [{"x": 1.5, "y": 2, "positive": True}, {"x": 3, "y": 4, "positive": False}]},
        ),
        (
            Prompt((0, 0, 30, 20), (POINT,)),
            {
                "box": {"x": 15, "y": 10, "width": 30, "height": 20},
                "points": [{"x": 1.5, "y": 2, "positive": True}],
            },
        ),
    ],
)
def test_prompt(prompt: Prompt, wire: dict[str, Any]) -> None:
    assert prompt_json(prompt) == wire


FORMS = {
    "box": Prompt(BOX),
    "box and a point": Prompt(BOX, (POINT,)),
    "point": Prompt(points=(POINT,)),
    "two points": Prompt(points=(POINT, NEGATIVE)),
}


@pytest.mark.parametrize("most", [1, 2, 3, 64])
def test_chunks_hold_one_form_each_and_every_prompt_once(most: int) -> None:
    random_ = np.random.default_rng(0)
    prompts = [list(FORMS.values())[index] for index in random_.integers(0, 4, 40)]
    found = list(chunks(prompts, most))
    assert sorted(index for chunk in found for index in chunk) == list(range(40))
    for chunk in found:
        assert 1 <= len(chunk) <= most
        assert chunk == sorted(chunk)
        assert len({(prompts[i].box_xyxy is None, len(prompts[i].points)) for i in chunk}) == 1


def test_chunks_are_full() -> None:
    prompts = [FORMS["box"], FORMS["point"]] * 5
    assert list(chunks(prompts, 2)) == [[0, 2], [4, 6], [8], [1, 3], [5, 7], [9]]
    assert list(chunks(prompts, 5)) == [[0, 2, 4, 6, 8], [1, 3, 5, 7, 9]]
    assert list(chunks([], 5)) == []


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({}, ImageFormat(2048 * 2048, 95, False)),
        ({"upload_format": "png"}, ImageFormat(None, 95, False)),
        ({"upload_format": "jpeg"}, ImageFormat(0, 95, False)),
        ({"upload_format": "auto"}, ImageFormat(2048 * 2048, 95, False)),
        ({"swap_channels": True}, ImageFormat(2048 * 2048, 95, True)),
    ],
)
def test_format_that_the_operator_chose(chosen: dict[str, Any], expected: ImageFormat) -> None:
    assert ImageFormat.of(RemoteSettings(**chosen)) == expected


def decoded(text: str) -> tuple[str, np.ndarray]:
    """Return the kind of file, and its pixels as they are in it."""
    content = base64.b64decode(text, validate=True)
    kind = "png" if content.startswith(b"\x89PNG") else "jpeg"
    assert kind == "png" or content.startswith(b"\xff\xd8\xff")
    return kind, cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)


def views(photo: np.ndarray) -> dict[str, np.ndarray]:
    return {
        "colour": photo,
        "grey": photo[..., 1],
        "every other row": photo[::2],
        "mirrored": photo[:, ::-1],
        "transposed": photo.transpose(1, 0, 2),
        "of BGRA": np.dstack([photo, photo[..., 0]])[..., :3],
        "one pixel": photo[:1, :1],
        "one row of grey": photo[:1, :, 0],
    }


VIEWS = list(views(np.zeros((2, 2, 3), np.uint8)))


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("swap", [False, True])
def test_png_loses_nothing(astronaut: np.ndarray, name: str, swap: bool) -> None:
    image = views(astronaut)[name]
    kind, pixels = decoded(ImageFormat(swap_channels=swap).encode(image))
    assert kind == "png"
    expected = image[..., ::-1] if swap and image.ndim == 3 else image
    np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("swap", [False, True])
def test_jpeg_loses_little(astronaut: np.ndarray, name: str, swap: bool) -> None:
    image = views(astronaut)[name]
    kind, pixels = decoded(ImageFormat(0, 95, swap).encode(image))
    expected = image[..., ::-1] if swap and image.ndim == 3 else image
    assert (kind, pixels.shape) == ("jpeg", image.shape)
    assert np.abs(pixels.astype(int) - expected).mean() < 4


def test_quality_is_that_of_the_jpeg(astronaut: np.ndarray) -> None:
    sizes = [len(ImageFormat(0, quality).encode(astronaut)) for quality in (5, 50, 95)]
    assert sizes[0] < sizes[1] < sizes[2]


@pytest.mark.parametrize(("most", "kind"), [(599, "jpeg"), (600, "png"), (None, "png")])
@pytest.mark.parametrize("channels", [(), (3,)])
def test_size_from_which_jpeg_is_sent(
    most: int | None, kind: str, channels: tuple[int, ...]
) -> None:
    image = np.zeros((*HW, *channels), np.uint8)
    assert decoded(ImageFormat(most).encode(image))[0] == kind


def test_image_is_not_changed(astronaut: np.ndarray) -> None:
    before = astronaut.copy()
    ImageFormat(swap_channels=True).encode(astronaut)
    np.testing.assert_array_equal(astronaut, before)


def test_equal_images_have_one_name(astronaut: np.ndarray) -> None:
    names = {
        ImageFormat().image_id(image)
        for image in (astronaut, astronaut.copy(), np.asfortranarray(astronaut))
    }
    names.add(ImageFormat().image_id(astronaut[:, ::-1].copy()[:, ::-1]))
    (name,) = names
    assert name.startswith("sam2_block-")


def test_all_that_differs_has_a_name_of_its_own(astronaut: np.ndarray) -> None:
    one_bit = astronaut.copy()
    one_bit[-1, -1, -1] ^= 1
    flat = np.arange(24, dtype=np.uint8)
    images = [
        astronaut,
        one_bit,
        astronaut[..., 0],
        astronaut[..., ::-1],
        *views(astronaut).values(),
    ]
    images += [flat.reshape(shape) for shape in ((4, 6), (6, 4), (2, 4, 3), (4, 2, 3), (24, 1))]
    distinct = {(image.shape, image.tobytes()) for image in images}
    formats = [ImageFormat(), ImageFormat(0), ImageFormat(0, 90), ImageFormat(swap_channels=True)]
    names = {each.image_id(image) for each in formats for image in images}
    assert len(names) == len(distinct) * len(formats)
