"""The pixels that SAM 2 sees are those of the image, in OpenCV's order, whatever it came as."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from roboflow_workflows.errors import RuntimeInputError

from sam2_block.backends.fake import FakeBackend
from tests.engine.workflows import ShapesBackend, batch_input, mask_of, run, segment, workflow
from tests.tensor.native import detections, masks

# Noise: no two channels, rows or columns are alike.
BGR = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
GREY = BGR[..., 0]
RGB_TENSOR = torch.from_numpy(BGR[..., ::-1].copy()).permute(2, 0, 1)  # the engine's: (3, H, W)
CROP = (slice(10, 40), slice(20, 70))
CROPS = "$steps.crop.crops"
STATIC_CROP = {
    "type": "roboflow_core/absolute_static_crop@v1",
    "name": "crop",
    "images": "$inputs.image",
    "x_center": 45,
    "y_center": 25,
    "width": 50,
    "height": 30,
}
DYNAMIC_CROP = {
    "type": "roboflow_core/dynamic_crop@v1",
    "name": "crop",
    "images": "$inputs.image",
    "predictions": "$inputs.regions",
}
REGIONS = batch_input("regions", "object_detection_prediction")


class EmbedBackend(FakeBackend):
    """Keeps the images that are embedded."""

    def __init__(self) -> None:
        super().__init__()
        self.images: list[np.ndarray] = []

    def embed(self, image: np.ndarray, *, version: str) -> None:
        self.images.append(image)


def encoded(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", image)[1].tobytes()


def image_file(folder: Path) -> str:
    path = folder / "image.png"
    path.write_bytes(encoded(BGR))
    return str(path)


CAME_AS: dict[str, Any] = {
    "numpy": (BGR, BGR),
    "numpy, grey": (GREY, GREY),
    "numpy, BGRA": (np.dstack([BGR, GREY]), BGR),
    "tensor": (RGB_TENSOR, BGR),
    "tensor, (H, W, 3)": (RGB_TENSOR.permute(1, 2, 0), BGR),
    "tensor, grey": (torch.from_numpy(GREY.copy()), GREY),
    "tensor in a dictionary": ({"type": "tensor", "value": RGB_TENSOR}, BGR),
    "base64": ({"type": "base64", "value": base64.b64encode(encoded(BGR)).decode()}, BGR),
}


@pytest.mark.parametrize("form", CAME_AS)
def test_segment_sees_the_pixels(form: str) -> None:
    image, seen = CAME_AS[form]
    backend = ShapesBackend(mask_of(60, 80, (1, 2, 3, 4)))
    run(workflow(segment(points=[[5, 5]])), backend, image)
    np.testing.assert_array_equal(backend.images[0], seen)


def test_segment_sees_the_pixels_of_a_file(tmp_path: Path) -> None:
    backend = ShapesBackend(mask_of(60, 80, (1, 2, 3, 4)))
    image = {"type": "file", "value": image_file(tmp_path)}
    run(workflow(segment(points=[[5, 5]])), backend, image)
    np.testing.assert_array_equal(backend.images[0], BGR)


@pytest.mark.parametrize("form", ["numpy", "tensor", "base64"])
@pytest.mark.parametrize("crop", [STATIC_CROP, DYNAMIC_CROP], ids=["static", "dynamic"])
def test_segment_sees_the_pixels_of_a_crop(crop: dict[str, Any], form: str) -> None:
    definition = workflow(
        crop,
        segment(images=CROPS, points=[[5, 5]]),
        inputs=[REGIONS],
    )
    backend = ShapesBackend(mask_of(30, 50, (1, 2, 3, 4)))
    regions = detections((20, 10, 70, 40))
    (result,) = run(definition, backend, CAME_AS[form][0], regions=[regions])
    np.testing.assert_array_equal(backend.images[0], BGR[CROP])
    (rows,) = np.atleast_1d(np.array(result["predictions"], dtype=object))
    np.testing.assert_array_equal(masks(rows), [mask_of(60, 80, (21, 12, 23, 14))])


@pytest.mark.parametrize("form", CAME_AS)
def test_embed_sees_the_pixels_and_hands_the_image_on(form: str) -> None:
    image, seen = CAME_AS[form]
    definition = workflow(
        {"type": "sam2_block/embed@v1", "name": "embed", "images": "$inputs.image"},
        segment(images="$steps.embed.image", points=[[5, 5]]),
        outputs={"image": "$steps.embed.image", "predictions": "$steps.sam.predictions"},
    )
    backend = EmbedBackend()
    (result,) = run(definition, backend, image)
    np.testing.assert_array_equal(backend.images[0], seen)
    handed_on = result["image"].numpy_image
    np.testing.assert_array_equal(handed_on[..., :3] if seen.ndim == 3 else handed_on, seen)
    assert masks(result["predictions"]).shape == (1, 60, 80)


@pytest.mark.xfail(strict=True, reason="the engine reverses alpha together with the colours")
def test_alpha_of_a_tensor_is_left_out() -> None:
    backend = ShapesBackend(mask_of(60, 80, (1, 2, 3, 4)))
    rgba = torch.cat([RGB_TENSOR, torch.from_numpy(GREY.copy())[None]])
    run(workflow(segment(points=[[5, 5]])), backend, rgba)
    np.testing.assert_array_equal(backend.images[0], BGR)


def test_tensor_of_other_numbers_is_the_callers_error(fake_backend: FakeBackend) -> None:
    with pytest.raises(RuntimeInputError, match=r"image 0: expected a uint8 array.*got float32"):
        run(workflow(segment(points=[[5, 5]])), fake_backend, RGB_TENSOR / 255)
