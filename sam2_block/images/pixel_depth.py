"""Conversion of pixels of any depth and number of channels to 8-bit BGR, the input of SAM 2."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sam2_block.images import Image

SENSOR_BITS = (8, 10, 12, 14, 16)
"""Depths of cameras and microscopes; files store all but the first in 16 bits."""


def significant_bits(pixels: NDArray[np.uint16]) -> int:
    """Return the smallest of `SENSOR_BITS` that holds the largest value."""
    largest = int(pixels.max())
    return next(bits for bits in SENSOR_BITS if largest < 1 << bits)


def to_eight_bits(pixels: NDArray[Any]) -> tuple[Image, str]:
    """Scale pixels to 8 bits.

    Args:
        pixels: `(H, W)` or `(H, W, C)`, BGR or BGRA order, any integer or float type.

    Returns:
        `(H, W, 3)` BGR, and a description of the scaling; empty if the values are unchanged.
    """
    if pixels.dtype == np.uint8:
        return _three_channels(pixels), ""
    if pixels.dtype == np.int16 and pixels.min() >= 0:
        pixels = pixels.astype(np.uint16)
    if pixels.dtype == np.uint16:
        bits = significant_bits(pixels)
        scaled = (pixels >> (bits - 8)).astype(np.uint8)
        return _three_channels(scaled), f"{bits}-bit values in a 16-bit file scaled to 8 bits"
    return _stretch(pixels)


def _stretch(pixels: NDArray[Any]) -> tuple[Image, str]:
    """Scale values linearly, from 0 to 1 if they are floats within it, else from their range."""
    values = pixels.astype(np.float64)
    finite = np.isfinite(values)
    low, high = (values[finite].min(), values[finite].max()) if finite.any() else (0.0, 0.0)
    remark = f"values of {low:g} to {high:g} scaled to 8 bits"
    if pixels.dtype.kind == "f" and low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    # Pixels without data get the lowest value.
    values = np.nan_to_num(values, nan=low, posinf=high, neginf=low)
    span = high / 2 - low / 2  # halved, since the range itself may overflow
    shares = (values / 2 - low / 2) / span if span > 0 else np.zeros_like(values)
    return _three_channels(np.rint(shares * 255).astype(np.uint8)), remark


def _three_channels(pixels: Image) -> Image:
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    if channels < 3:
        grey = pixels if pixels.ndim == 2 else pixels[..., 0]
        return np.asarray(cv2.cvtColor(np.ascontiguousarray(grey), cv2.COLOR_GRAY2BGR), np.uint8)
    return pixels[..., :3]
