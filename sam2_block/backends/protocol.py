"""What a backend is: the one seam between prompts and masks.

Everything above it (blocks, prompts, detections, tests) is the same for every backend.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from sam2_block.images import Image
from sam2_block.masks import CroppedMask
from sam2_block.prompts import Prompt


class MaskPrediction(Protocol):
    """The mask that SAM 2 predicts for one prompt.

    The mask itself is made on demand: predictions that are dropped by their score cost nothing, and
    the masks of many prompts are not all held at full size.
    """

    @property
    def score(self) -> float:
        """Quality (intersection over union) that SAM 2 predicts for the mask, 0 to 1."""
        ...

    def mask(self) -> CroppedMask:
        """Return the mask on the grid of the image."""
        ...


@dataclass(frozen=True)
class ReadyPrediction:
    """A prediction whose mask is made already, held as its crop.

    Attributes:
        score: Predicted quality, 0 to 1.
        shape: The mask.
    """

    score: float
    shape: CroppedMask

    def mask(self) -> CroppedMask:
        """Return the mask on the grid of the image."""
        return self.shape


class Backend(Protocol):
    """Runs SAM 2. Calls are stateless and may come from any number of threads at once.

    One that keeps a limited number of embeddings has an attribute `embedding_capacity` as well:
    that number, or None where it is not known yet. `embed` is called for no more images of a batch.
    """

    @property
    def concurrent_images(self) -> int:
        """How many images are best worked on at once; 1 where they would only share a processor."""
        ...

    def predict(
        self, image: Image, prompts: Sequence[Prompt], *, version: str, multimask_output: bool
    ) -> Sequence[MaskPrediction]:
        """Predict a mask for every prompt on one image.

        Args:
            image: `(H, W, 3)` BGR or `(H, W)` grey, `uint8`.
            prompts: At least one prompt.
            version: One of `sam2_block.versions.NAMES`.
            multimask_output: Let SAM 2 propose three masks a prompt and take the one it scores
                best; otherwise it proposes one.

        Returns:
            One prediction a prompt, in the order of the prompts.

        Raises:
            Sam2BlockError: The model cannot be had or run.
        """
        ...

    def embed(self, image: Image, *, version: str) -> None:
        """Encode an image ahead of time, so that prompts on it are only decoded.

        Args:
            image: As `predict` takes it.
            version: One of `sam2_block.versions.NAMES`.

        Raises:
            Sam2BlockError: The model cannot be had or run.
        """
        ...
