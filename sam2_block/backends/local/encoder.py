"""Encode an image once: pixels in, the feature maps that every prompt on it shares out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name that every PyTorch reader expects

from sam2_block.backends.local.devices import Compute
from sam2_block.images import Image, rgb_channels

# Mean and spread of ImageNet's channels, in RGB order; SAM 2 was trained on pixels scaled by them
# (`sam2/utils/transforms.py`).
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Embedding:
    """What the image encoder says of one image; never changed after it is made.

    Attributes:
        image: `(1, C, h, w)`, stride 16: what the mask decoder attends to.
        high_res: `(1, C/8, 4h, 4w)` and `(1, C/4, 2h, 2w)`: added to the masks on the way up.
    """

    image: torch.Tensor
    high_res: tuple[torch.Tensor, torch.Tensor]

    @property
    def nbytes(self) -> int:
        """Bytes of the tensors."""
        return sum(t.numel() * t.element_size() for t in (self.image, *self.high_res))


def encode(model: Any, compute: Compute, image: Image) -> Embedding:
    """Run the image encoder on one image, as Meta's `SAM2ImagePredictor.set_image` does.

    Args:
        model: A `SAM2Base` on the device of `compute`.
        compute: Device and precision.
        image: `(H, W, 3)` BGR or `(H, W)` grey, `uint8`.
    """
    with torch.inference_mode(), compute.autocast():
        pixels = preprocess(image, model.image_size, compute.device)
        features = model.forward_image(pixels)["backbone_fpn"][-model.num_feature_levels :]
        top = features[-1]
        if model.directly_add_no_mem_embed:
            top = top + model.no_mem_embed.reshape(1, -1, 1, 1)
        return Embedding(top, (features[0], features[1]))


def preprocess(image: Image, side: int, device: torch.device) -> torch.Tensor:
    """Scale an image to what the encoder takes: `(1, 3, side, side)`, RGB, normalised.

    The image is stretched to a square with antialiasing, as Meta's `SAM2Transforms` does. It goes
    channel by channel, so that a large image never stands in memory as floats three times over.
    """
    # PyTorch has no antialiasing on MPS.
    resize_on = torch.device("cpu") if device.type == "mps" else device
    planes = []
    for channel in rgb_channels(image):
        # A copy of its own: frames may be read-only, which PyTorch warns about.
        plane = torch.from_numpy(np.array(channel, order="C")).to(resize_on)
        planes.append(
            F.interpolate(
                plane[None, None].float().div_(255.0),
                size=(side, side),
                mode="bilinear",
                align_corners=False,
                antialias=True,
            )
        )
    pixels = torch.cat(planes, dim=1).to(device).expand(1, 3, side, side)
    mean = torch.tensor(_MEAN, device=device).reshape(1, 3, 1, 1)
    std = torch.tensor(_STD, device=device).reshape(1, 3, 1, 1)
    return (pixels - mean) / std
