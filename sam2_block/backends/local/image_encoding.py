"""Encode an image: from pixels to the embedding that all prompts on it share."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name that every PyTorch reader expects

from sam2_block.compute.compute_pool import each
from sam2_block.compute.compute_target import ComputeTarget
from sam2_block.errors import ModelError
from sam2_block.images import Image, rgb_channels
from sam2_block.sam2.network import Embedding, Network

# Mean and standard deviation of ImageNet's channels, in RGB order; SAM 2 was trained on pixels
# normalised with them (`sam2/utils/transforms.py`).
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)


def encode(network: Network, compute: ComputeTarget, image: Image) -> Embedding:
    """Run the image encoder on one image, as Meta's `SAM2ImagePredictor.set_image` does.

    Args:
        network: The model.
        compute: The model's device and precision.
        image: `(H, W, 3)` BGR or `(H, W)` grey, `uint8`.

    Raises:
        ModelError: The embedding is not finite, and must not be cached.
    """
    with torch.inference_mode():
        features = network.encode(preprocess(image, network.image_size, compute.device))
        embedding: Embedding = network.condition(features)
        if not embedding.is_finite():
            remedy = "" if compute.precision == "fp32" else " Set SAM2_BLOCK_PRECISION=fp32."
            raise ModelError(
                f"SAM 2 returned an embedding that is not finite, in {compute.precision} on"
                f" {compute.device}.{remedy}"
            )
    return embedding


def preprocess(image: Image, side: int, device: torch.device) -> torch.Tensor:
    """Return the encoder's input for an image: `(1, 3, side, side)` float32, RGB, normalised.

    The image is stretched to a square with antialiasing, as Meta's `SAM2Transforms` does. Each
    channel is one job, and as many run at once as there are cores: on one or two cores, the float
    copies of a large image's three channels are never all in memory at once.
    """
    # PyTorch has no antialiasing on MPS.
    resize_device = torch.device("cpu") if device.type == "mps" else device
    channels = rgb_channels(image)
    planes: dict[int, torch.Tensor] = {}

    def scale(index: int) -> None:
        # A copy: frames may be read-only, which PyTorch warns about.
        plane = torch.from_numpy(np.array(channels[index], order="C")).to(resize_device)
        planes[index] = F.interpolate(
            plane[None, None].float().div_(255.0),
            size=(side, side),
            mode="bilinear",
            align_corners=False,
            antialias=True,
        )

    each(scale, range(len(channels)))
    scaled = [planes[index] for index in range(len(channels))]
    pixels = torch.cat(scaled, dim=1).to(device).expand(1, 3, side, side)
    mean = torch.tensor(_MEAN, dtype=torch.float32, device=device).reshape(1, 3, 1, 1)
    std = torch.tensor(_STD, dtype=torch.float32, device=device).reshape(1, 3, 1, 1)
    return (pixels - mean) / std
