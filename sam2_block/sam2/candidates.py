"""The masks that SAM 2 proposes for a prompt, and which of them is taken."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, Protocol

import torch
from torch import Tensor

Choice = Literal["best", "all", "stable"]
"""Which candidates are taken: the best of three, all three, or the single mask if it is stable."""

# SAM 2 has four mask tokens: the first is of the single mask, the others of three masks that
# differ where a prompt is ambiguous.
_SINGLE = 0


class Candidates(Protocol):
    """Four candidates for each of `B` prompts: the single mask, then three."""

    @property
    def scores(self) -> Tensor:
        """`(B, 4)` float32, the predicted quality (intersection over union) of each."""

    def logits(self, chosen: Tensor, rows: Tensor | None = None) -> Tensor:
        """Return the logits of some candidates, which may be computed only now.

        Args:
            chosen: `(B, K)`, indices of candidates of each prompt.
            rows: `(B,)`, indices of prompts, where only some of them are of interest.

        Returns:
            `(B, K, s, s)` float32.
        """


class Stability(NamedTuple):
    """When a single mask is stable (`_get_stability_scores` of Meta's mask decoder).

    Attributes:
        delta: The mask is compared at logits of plus and minus this.
        threshold: Least overlap (IoU) of the two.
    """

    delta: float
    threshold: float

    @classmethod
    def of(cls, decoder: Any) -> Stability | None:
        """Return that of Meta's mask decoder; None where its single mask never gives way."""
        if not decoder.dynamic_multimask_via_stability:
            return None
        return cls(
            decoder.dynamic_multimask_stability_delta, decoder.dynamic_multimask_stability_thresh
        )

    def holds(self, logits: Tensor) -> Tensor:
        """Return for each mask `(..., s, s)` whether it is stable; an empty one is."""
        inner = (logits > self.delta).sum((-2, -1))
        outer = (logits > -self.delta).sum((-2, -1))
        return torch.where(outer > 0, inner / outer, 1.0) >= self.threshold


class Selected(NamedTuple):
    """The candidates that were taken of `B` prompts.

    Attributes:
        logits: `(B, K, s, s)` float32; `K` is 3 for `all`, else 1.
        scores: `(B, K)` float32.
    """

    logits: Tensor
    scores: Tensor


def select(candidates: Candidates, choice: Choice, stability: Stability | None) -> Selected:
    """Take candidates of every prompt.

    Args:
        candidates: Of a network.
        choice: `best` and `all` are Meta's `multimask_output=True`, `stable` is `False`.
        stability: Of the network.
    """
    scores = candidates.scores
    best = scores[:, _SINGLE + 1 :].argmax(1, keepdim=True) + _SINGLE + 1
    if choice == "all":
        chosen = torch.arange(_SINGLE + 1, scores.shape[1], device=scores.device)
        chosen = chosen.expand(len(scores), -1)
    else:
        chosen = best if choice == "best" else torch.full_like(best, _SINGLE)
    logits = candidates.logits(chosen)
    if choice == "stable" and stability is not None:
        (rows,) = torch.nonzero(~stability.holds(logits)[:, 0], as_tuple=True)
        if len(rows):
            chosen[rows] = best[rows]
            logits[rows] = candidates.logits(chosen[rows], rows)
    return Selected(logits, scores.gather(1, chosen))
