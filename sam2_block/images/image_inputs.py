"""Images as programs have them: a path, a Pillow image, a tensor, or an array."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from sam2_block.errors import ImageError, OptionError
from sam2_block.images.image_arrays import CHANNELS, Image, as_image
from sam2_block.images.image_reading import read_image

ColorOrder = Literal["bgr", "rgb"]

ImageInput = Any
"""A path, a `PIL.Image.Image`, a NumPy array or a torch tensor; see `to_bgr`."""

_PILLOW_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "LAB")


def to_bgr(image: Any, color: ColorOrder = "bgr") -> Image:
    """Return an image as SAM 2's preprocessing reads it.

    Args:
        image: A path (`str` or `Path`) of an image file, turned as its EXIF data specify; a
            `PIL.Image.Image` of 8 bits per channel, as it is; a `uint8` array, `(H, W)`,
            `(H, W, 3)` or `(H, W, 4)`; or a `uint8` torch tensor, `(C, H, W)` or `(H, W, C)`.
        color: Order of the channels of arrays and tensors. Files and Pillow images have their own.

    Returns:
        `(H, W, 3)` BGR, or `(H, W)` grey.

    Raises:
        ImageError: It is anything else, or the file cannot be read.
        OptionError: There is no such order.
    """
    if color not in get_args(ColorOrder):
        raise OptionError(f"color: expected 'bgr' or 'rgb'; got {color!r}.")
    if isinstance(image, (str, Path)):
        try:
            return as_image(read_image(Path(image)).pixels)
        except ImageError as error:
            raise ImageError(f"{image}: {error}") from error
    if _is_pillow(image):
        return as_image(_pillow_pixels(image))
    pixels = as_image(_tensor_pixels(image) if _is_tensor(image) else image)
    return pixels[..., ::-1] if color == "rgb" and pixels.ndim == 3 else pixels


def _is_pillow(image: Any) -> bool:
    # Loaded by whoever has such an image.
    pillow = sys.modules.get("PIL.Image")
    return pillow is not None and isinstance(image, pillow.Image)


def _is_tensor(image: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(image, torch.Tensor)


def _pillow_pixels(image: Any) -> Any:
    if image.mode not in _PILLOW_MODES:
        raise ImageError(
            f"expected a Pillow image of 8 bits per channel; got mode {image.mode!r}. Convert it,"
            " or pass the path of the file."
        )
    return np.asarray(image.convert("RGB"))[..., ::-1]


def _tensor_pixels(tensor: Any) -> Any:
    """Return a tensor's values as an array with the channels last."""
    values = tensor.detach()
    if values.ndim == 3 and values.shape[0] in CHANNELS and values.shape[2] not in CHANNELS:
        values = values.permute(1, 2, 0)
    return values.cpu().numpy()
