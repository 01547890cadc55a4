"""The candidate masks of SAM 2 for each prompt, and the selection among them."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, Protocol

import torch
from torch import Tensor

Choice = Literal["best", "all", "stable"]
"""Which candidates to select: the best of three, all three, or the single mask if it is stable."""

# Index of the single mask. SAM 2 has four mask tokens: the other three predict masks that differ
# where a prompt is ambiguous.
_SINGLE = 0


class Candidates(Protocol):
    """Four candidates for each of `B` prompts: the single mask, then three."""

    @property
    def scores(self) -> Tensor:
        """`(B, 4)` float32, the predicted quality (intersection over union) of each."""

    def logits(self, indices: Tensor, rows: Tensor | None = None) -> Tensor:
        """Return the logits of selected candidates, which may be computed on demand.

        Args:
            indices: `(B, K)`, indices of candidates of each prompt.
            rows: `(B,)`, indices of the prompts that `indices` is for; None for all prompts.

        Returns:
            `(B, K, s, s)` float32.
        """


class Stability(NamedTuple):
    """The criterion for a stable single mask (`_get_stability_scores` of Meta's mask decoder).

    Attributes:
        delta: The mask is thresholded twice, at logits of plus and minus this.
        threshold: Minimum overlap (IoU) of the two results.
    """

    delta: float
    threshold: float

    @classmethod
    def of(cls, decoder: Any) -> Stability | None:
        """Return the criterion of Meta's mask decoder; None if it always uses the single mask."""
        if not decoder.dynamic_multimask_via_stability:
            return None
        return cls(
            decoder.dynamic_multimask_stability_delta, decoder.dynamic_multimask_stability_thresh
        )

    def is_stable(self, logits: Tensor) -> Tensor:
        """Return whether each mask `(..., s, s)` is stable; an empty mask counts as stable."""
        inner = (logits > self.delta).sum((-2, -1))
        outer = (logits > -self.delta).sum((-2, -1))
        return torch.where(outer > 0, inner / outer, 1.0) >= self.threshold


class Selected(NamedTuple):
    """The selected candidates of `B` prompts.

    Attributes:
        logits: `(B, K, s, s)` float32; `K` is 3 for `all`, else 1.
        scores: `(B, K)` float32.
    """

    logits: Tensor
    scores: Tensor


def select(candidates: Candidates, choice: Choice, stability: Stability | None) -> Selected:
    """Select candidates of every prompt.

    Args:
        candidates: The candidates that a network proposes.
        choice: `best` and `all` are Meta's `multimask_output=True`, `stable` is `False`.
        stability: The network's criterion for `stable`; None to always use the single mask.
    """
    scores = candidates.scores
    best = scores[:, _SINGLE + 1 :].argmax(1, keepdim=True) + _SINGLE + 1
    if choice == "all":
        indices = torch.arange(_SINGLE + 1, scores.shape[1], device=scores.device)
        indices = indices.expand(len(scores), -1)
    else:
        indices = best if choice == "best" else torch.full_like(best, _SINGLE)
    logits = candidates.logits(indices)
    if choice == "stable" and stability is not None:
        (rows,) = torch.nonzero(~stability.is_stable(logits)[:, 0], as_tuple=True)
        if len(rows):
            indices[rows] = best[rows]
            logits[rows] = candidates.logits(indices[rows], rows)
    return Selected(logits, scores.gather(1, indices))
