"""Images as programs have them become the same BGR array."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.Image
import pytest
import torch

from sam2_block import Segmenter
from sam2_block.backends.fake import FakeBackend
from sam2_block.errors import ImageError, OptionError
from sam2_block.images.image_inputs import to_bgr

BGR = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
RGB = np.ascontiguousarray(BGR[..., ::-1])

FORMS: dict[str, Any] = {
    "BGR array": (BGR, "bgr"),
    "RGB array": (RGB, "rgb"),
    "BGRA array": (np.dstack([BGR, BGR[..., :1]]), "bgr"),
    "RGBA array": (np.dstack([RGB, RGB[..., :1]]), "rgb"),
    "Pillow": (PIL.Image.fromarray(RGB), "bgr"),
    "Pillow with alpha": (PIL.Image.fromarray(RGB).convert("RGBA"), "rgb"),
    "tensor (C, H, W)": (torch.from_numpy(RGB).permute(2, 0, 1), "rgb"),
    "tensor (H, W, C)": (torch.from_numpy(RGB), "rgb"),
    "BGR tensor": (torch.from_numpy(BGR), "bgr"),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_the_same_image(form: str) -> None:
    np.testing.assert_array_equal(to_bgr(*FORMS[form]), BGR)


@pytest.mark.parametrize("as_path", [str, Path])
def test_a_path(as_path: Any, tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    cv2.imwrite(str(path), BGR)
    np.testing.assert_array_equal(to_bgr(as_path(path), "rgb"), BGR)


def test_grey_images_have_no_order() -> None:
    grey = BGR[..., 0]
    for image in (grey, torch.from_numpy(grey)):
        np.testing.assert_array_equal(to_bgr(image, "rgb"), grey)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (None, r"got NoneType\. Did cv2\.imread fail to read the file\?"),
        (BGR / 255, r"Its values are from 0 to 1: multiply by 255 and convert to uint8\."),
        (BGR.transpose(2, 0, 1), r"It looks like \(C, H, W\): transpose it by"),
        (BGR[None], r"It looks like a batch of one image: pass pixels\[0\]\."),
        (BGR.tolist(), r"got list\.$"),
        (torch.from_numpy(RGB) / 255, "Its values are from 0 to 1"),
        (PIL.Image.new("I;16", (4, 4)), r"8 bits per channel; got mode 'I;16'"),
        ("/no/such/photo.jpg", r"^/no/such/photo\.jpg: cannot be read \(No such file"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else value[:20],
)
def test_what_cannot_be_used_says_what_to_do(image: Any, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        Segmenter("demo", backend=FakeBackend()).segment(image, [[1, 1, 9, 9]])


def test_an_order_that_there_is_not() -> None:
    with pytest.raises(OptionError, match=r"^color: expected 'bgr' or 'rgb'; got 'RGB'\."):
        to_bgr(BGR, "RGB")  # type: ignore[arg-type]
