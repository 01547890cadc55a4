"""Meta's own predictor on the weights that this package loads, and how masks compare with its."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from sam2_block.backends.local.models.model_loading import build_model
from sam2_block.backends.local.upsample import LowResMask
from sam2_block.prompts import Prompt
from sam2_block.versions import DEMO, META_RELEASES


def metas_predictor(version: str, checkpoint: Path, image: np.ndarray, device: str) -> Any:
    """Return Meta's predictor with an image set, built by Meta's builder where it can be.

    Args:
        version: One of `sam2_block.versions.NAMES`.
        checkpoint: Its weights.
        image: `(H, W, 3)` BGR.
        device: Where it computes.
    """
    from sam2.build_sam import build_sam2
    from sam2.sam2_image_predictor import SAM2ImagePredictor

    if version == DEMO:
        model = _built_by_hand(checkpoint).to(device)
    else:
        model = build_sam2(META_RELEASES[version].config_file, str(checkpoint), device=device)
    predictor = SAM2ImagePredictor(model)
    stride = model.image_size // 4  # the predictor has the sizes of 1024 pixels built in
    predictor._bb_feat_sizes = [(stride // n, stride // n) for n in (1, 2, 4)]
    predictor.set_image(np.ascontiguousarray(image[..., ::-1]))
    return predictor


def _built_by_hand(path: Path) -> Any:
    with safe_open(path, framework="pt") as file:
        model = build_model(json.loads(file.metadata()["config"]))
    model.load_state_dict({name: tensor.float() for name, tensor in load_file(path).items()})
    return model.eval()


# Differences in predicted quality that half precision rounds away.
HALF_TIE = 2**-7

# Least mean IoU of masks in half precision. Meta's predictor in the same precision is further off
# than in single precision: it also rounds the coordinates of prompts.
HALF_MEAN_IOU = {"fp32": 0.99, "same": 0.985}


@dataclass(frozen=True)
class Agreement:
    """How a mask of this package compares with Meta's for the same prompt.

    Attributes:
        iou: With the best of Meta's, or the most alike of those that are as good as the best.
        score_difference: Between the predicted qualities, without sign.
    """

    iou: float
    score_difference: float


def compare(
    answers: Sequence[LowResMask],
    predictor: Any,
    prompts: Sequence[Prompt],
    *,
    multimask_output: bool,
    tie: float = 0.0,
) -> list[Agreement]:
    """Compare masks with those of Meta's predictor, which decodes one prompt at a time.

    Args:
        answers: This package's, one a prompt.
        predictor: Meta's, with the image set.
        prompts: What both decode.
        multimask_output: Choose among three masks, or take the single one.
        tie: Difference in predicted quality up to which two of Meta's masks are equally good: in
            half precision their order is left to rounding.
    """
    agreements = []
    for prompt, answer in zip(prompts, answers, strict=True):
        masks, scores, _ = predictor.predict(
            **arguments_of(prompt), multimask_output=multimask_output
        )
        ours = pixels_of(answer)
        best = masks[scores >= scores.max() - tie] > 0
        difference = abs(answer.score - float(scores.max()))
        agreements.append(Agreement(max(iou(ours, mask) for mask in best), difference))
    return agreements


def arguments_of(prompt: Prompt | None) -> dict[str, Any]:
    """Return a prompt as arguments of Meta's `predict`; None is a prompt without any."""
    if prompt is None:
        return {}
    arguments: dict[str, Any] = {}
    if prompt.points:
        arguments["point_coords"] = np.array([[p.x, p.y] for p in prompt.points])
        arguments["point_labels"] = np.array([int(p.positive) for p in prompt.points])
    if prompt.box_xyxy is not None:
        arguments["box"] = np.array(prompt.box_xyxy)
    return arguments


def check(
    agreements: Sequence[Agreement], *, mean_iou: float, worst_iou: float, score: float
) -> None:
    """Assert that masks agree, on the average and each.

    Args:
        agreements: Of the prompts of one image.
        mean_iou: Least mean.
        worst_iou: Least of all.
        score: Greatest difference in predicted quality.
    """
    ious = [one.iou for one in agreements]
    assert min(ious) >= worst_iou, agreements
    assert sum(ious) / len(ious) >= mean_iou, agreements
    assert max(one.score_difference for one in agreements) <= score, agreements


def pixels_of(answer: LowResMask) -> np.ndarray:
    """Return the mask of an answer at the size of its image."""
    pixels = np.zeros(answer.image_hw, dtype=bool)
    answer.mask().paste_into(pixels)
    return pixels


def iou(one: np.ndarray, other: np.ndarray) -> float:
    """Return the overlap of two masks, 1.0 of two empty ones."""
    union = (one | other).sum()
    return float((one & other).sum() / union) if union else 1.0


def autocast(device: str, precision: str) -> Any:
    """Return the context in which Meta's notebooks run the predictor in half precision."""
    types = {"bf16": torch.bfloat16, "fp16": torch.float16}
    return torch.autocast(device, dtype=types.get(precision), enabled=precision in types)
