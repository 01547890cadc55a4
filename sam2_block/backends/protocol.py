"""The backend protocol: the one interface between prompts and masks.

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

    The mask is computed on demand: predictions dropped by score cost nothing, and the masks of many
    prompts are not all in memory at full size.
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
    """A prediction whose mask is already computed, stored as its crop.

    Attributes:
        score: Predicted quality, 0 to 1.
        cropped_mask: The mask.
    """

    score: float
    cropped_mask: CroppedMask

    def mask(self) -> CroppedMask:
        """Return the mask on the grid of the image."""
        return self.cropped_mask


class Backend(Protocol):
    """Runs SAM 2. All methods are thread-safe, and no result depends on earlier calls.

    A backend that caches a limited number of embeddings also has an attribute `embedding_capacity`:
    that number, or None while it is unknown. `embed` is called for at most that many images of a
    batch.
    """

    @property
    def concurrent_images(self) -> int:
        """Best number of images to process at once; 1 where they would only share a processor."""
        ...

    def predict(
        self, image: Image, prompts: Sequence[Prompt], *, version: str, multimask_output: bool
    ) -> Sequence[MaskPrediction]:
        """Predict a mask for every prompt on one image.

        Args:
            image: `(H, W, 3)` BGR or `(H, W)` grey, `uint8`.
            prompts: At least one prompt.
            version: One of `sam2_block.versions.NAMES`.
            multimask_output: Let SAM 2 propose three masks per prompt and select the one with the
                highest score; otherwise it proposes one.

        Returns:
            One prediction per prompt, in the order of the prompts.

        Raises:
            Sam2BlockError: The model is not available or cannot be run.
        """
        ...

    def load(self, version: str) -> None:
        """Load the model in advance, if it runs in this process; otherwise do nothing.

        Args:
            version: One of `sam2_block.versions.NAMES`.

        Raises:
            Sam2BlockError: The model is not available.
        """
        ...

    def embed(self, image: Image, *, version: str) -> None:
        """Encode an image in advance, so that `predict` only decodes its prompts.

        Args:
            image: As for `predict`.
            version: One of `sam2_block.versions.NAMES`.

        Raises:
            Sam2BlockError: The model is not available or cannot be run.
        """
        ...
