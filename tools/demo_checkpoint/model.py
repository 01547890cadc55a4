"""The small SAM 2: building it from its JSON, encoding pictures, decoding prompts, saving it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

ARCHITECTURE = Path(__file__).with_name("architecture.json")

# ImageNet's mean and standard deviation, as in Meta's SAM2Transforms.
_MEAN = torch.tensor([0.485, 0.456, 0.406]).reshape(1, 3, 1, 1)
_STD = torch.tensor([0.229, 0.224, 0.225]).reshape(1, 3, 1, 1)


def read_architecture(image_size: int | None = None) -> dict[str, Any]:
    """Reads the tree of `_target_` nodes, for another picture size if one is given."""
    tree: dict[str, Any] = json.loads(ARCHITECTURE.read_text())
    if image_size is not None:
        tree["image_size"] = image_size
        layer = tree["memory_attention"]["layer"]
        for attention in (layer["self_attention"], layer["cross_attention"]):
            attention["feat_sizes"] = [image_size // 16, image_size // 16]
    return tree


def build_model(tree: dict[str, Any]) -> nn.Module:
    """Builds the `SAM2Base` that a tree describes, with fresh weights."""
    model = instantiate(tree, _recursive_=True)
    assert isinstance(model, nn.Module)
    return model


def set_image_size(model: Any, image_size: int) -> None:
    """Makes the model take pictures of another side; no weight depends on it."""
    cells = image_size // 16
    model.image_size = image_size
    model.sam_image_embedding_size = cells
    model.sam_prompt_encoder.image_embedding_size = (cells, cells)
    model.sam_prompt_encoder.input_image_size = (image_size, image_size)
    model.sam_prompt_encoder.mask_input_size = (4 * cells, 4 * cells)


@dataclass(frozen=True)
class Features:
    """What the decoder needs of `B` pictures of side `S`.

    Attributes:
        embedding: `(B, C, S/16, S/16)`, the no-memory embedding added.
        high_res: `(B, C/8, S/4, S/4)` and `(B, C/4, S/8, S/8)`.
    """

    embedding: Tensor
    high_res: tuple[Tensor, Tensor]

    def repeat(self, count: int) -> Features:
        """Every picture `count` times in a row."""
        return Features(
            self.embedding.repeat_interleave(count, 0),
            (
                self.high_res[0].repeat_interleave(count, 0),
                self.high_res[1].repeat_interleave(count, 0),
            ),
        )


def encode(model: Any, images: Tensor) -> Features:
    """Encodes `(B, 3, S, S)` uint8 RGB pictures."""
    device = model.no_mem_embed.device
    scaled = images.to(device, torch.float32) / 255
    levels = model.forward_image((scaled - _MEAN.to(device)) / _STD.to(device))["backbone_fpn"]
    embedding = levels[2] + model.no_mem_embed.reshape(1, -1, 1, 1)
    return Features(embedding, (levels[0], levels[1]))


def decode(
    model: Any, features: Features, coords: Tensor, labels: Tensor, masks: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Decodes one prompt for each row of the features.

    Args:
        model: The `SAM2Base`.
        features: `(P, ...)`, one row for each prompt.
        coords: `(P, L, 2)` x, y in pixels of the model's picture; a box is two points.
        labels: `(P, L)`: 1 inside, 0 outside, 2 and 3 a box's corners, -1 nothing.
        masks: `(P, 1, S/4, S/4)` logits of an earlier answer, if any.

    Returns:
        `(P, 4, S/4, S/4)` mask logits and `(P, 4)` predicted IoU; the first of the four is the
        single-mask answer, the other three are the candidates.
    """
    sparse, dense = model.sam_prompt_encoder(points=(coords, labels), boxes=None, masks=masks)
    logits, scores, _, _ = model.sam_mask_decoder.predict_masks(
        image_embeddings=features.embedding,
        image_pe=model.sam_prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        repeat_image=False,
        high_res_features=list(features.high_res),
    )
    return logits, scores


def load(path: Path) -> tuple[Any, dict[str, str]]:
    """Builds the model of a `.safetensors` file, in full precision, ready to answer.

    Returns:
        The `SAM2Base` and the file's metadata.
    """
    with safe_open(str(path), framework="pt") as file:
        metadata: dict[str, str] = file.metadata()
    model = build_model(json.loads(metadata["config"]))
    weights = {name: tensor.float() for name, tensor in load_file(str(path)).items()}
    model.load_state_dict(weights, strict=True)
    return model.eval(), metadata


def export(
    weights: dict[str, Tensor], tree: dict[str, Any], path: Path, notes: dict[str, str]
) -> None:
    """Writes the weights in half precision with the tree in the metadata, in one move.

    Args:
        weights: The full state dict.
        tree: The tree that builds the model, `image_size` as it is to be used.
        path: The `.safetensors` file.
        notes: More metadata.
    """
    half = {name: tensor.detach().cpu().half().contiguous() for name, tensor in weights.items()}
    part = path.with_suffix(".part")
    metadata = {"config": json.dumps(tree), "license": "Apache-2.0", **notes}
    save_file(half, str(part), metadata=metadata)
    part.replace(path)
