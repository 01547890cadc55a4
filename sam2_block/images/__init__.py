"""Input images: arrays, files, and images of other libraries."""

from sam2_block.images.image_arrays import (
    MAX_SIDE,
    Image,
    as_image,
    content_key,
    rgb_channels,
)

__all__ = ["MAX_SIDE", "Image", "as_image", "content_key", "rgb_channels"]
