"""What training minimises: mask overlap, and honest scores."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def mask_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross entropy plus dice of each candidate.

    The cross entropy is divided by the root of the target's share of the picture, so that a coin
    counts nearly as much as a table.

    Args:
        logits: `(P, M, H, W)`.
        targets: `(P, H, W)` in 0 to 1.

    Returns:
        `(P, M)`.
    """
    goal = targets[:, None].expand_as(logits)
    entropy = functional.binary_cross_entropy_with_logits(logits, goal, reduction="none").mean(
        (2, 3)
    )
    share = targets.mean((1, 2)).clamp(0.0025, 0.25)[:, None]
    chance = logits.sigmoid()
    overlap = (chance * goal).sum((2, 3))
    total = (chance + goal).sum((2, 3))
    dice = 1 - (2 * overlap + 1) / (total + 1)
    return 1.5 * entropy / share.sqrt() + dice


@torch.no_grad()
def real_iou(logits: Tensor, targets: Tensor) -> Tensor:
    """IoU of each thresholded candidate with its target.

    Args:
        logits: `(P, M, H, W)`.
        targets: `(P, H, W)` in 0 to 1.

    Returns:
        `(P, M)` in 0 to 1.
    """
    found, wanted = logits > 0, (targets > 0.5)[:, None]
    overlap = (found & wanted).sum((2, 3))
    total = (found | wanted).sum((2, 3))
    return overlap / total.clamp(min=1)


def prompt_loss(logits: Tensor, scores: Tensor, targets: Tensor, certain: bool) -> Tensor:
    """The loss of one group of prompts.

    Args:
        logits: `(P, 4, H, W)`: the single answer, then three candidates.
        scores: `(P, 4)` predicted IoU.
        targets: `(P, H, W)` in 0 to 1.
        certain: The prompts have one answer each, so that every candidate should give it;
            otherwise the best of the three candidates counts and the others stay free.

    Returns:
        A scalar.
    """
    losses = mask_loss(logits, targets)
    single, three = losses[:, 0], losses[:, 1:]
    best = three.min(1).values
    mean_share = 0.7 if certain else 0.06
    masks = (1 - mean_share) * best + mean_share * three.mean(1) + 0.4 * single
    honesty = functional.mse_loss(scores, real_iou(logits, targets))
    return masks.mean() + 4 * honesty
