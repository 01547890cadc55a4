"""A backend without a model, for tests of workflows and of code above the backend."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sam2_block.backends.protocol import ReadyPrediction
from sam2_block.images import Image
from sam2_block.masks import CroppedMask
from sam2_block.prompts import Prompt


class FakeBackend:
    """Predicts the pixels inside a box, and a square around each positive point.

    A square reaches `radius` pixels from its point. Negative points clear such squares afterwards.
    Pass it to a workflow as the init parameter `sam2_block.backend`.

    Attributes:
        calls: The prompts of every call so far, in order of arrival.
        embedded: The shapes of the images passed to `embed`, in order.
    """

    concurrent_images = 1

    def __init__(self, score: float = 0.9, radius: int = 5) -> None:
        self.score = score
        self.radius = radius
        self.calls: list[tuple[Prompt, ...]] = []
        self.embedded: list[tuple[int, ...]] = []

    def predict(
        self, image: Image, prompts: Sequence[Prompt], *, version: str, multimask_output: bool
    ) -> list[ReadyPrediction]:
        """Predict as the class describes; see `Backend.predict`."""
        self.calls.append(tuple(prompts))
        height, width = image.shape[:2]
        return [
            ReadyPrediction(self.score, self._mask(prompt, height, width)) for prompt in prompts
        ]

    def load(self, version: str) -> None:
        """Do nothing: there is no model."""

    def embed(self, image: Image, *, version: str) -> None:
        """Record the shape of the image; see `Backend.embed`."""
        self.embedded.append(image.shape)

    def _mask(self, prompt: Prompt, height: int, width: int) -> CroppedMask:
        canvas = np.zeros((height, width), dtype=np.bool_)
        if prompt.box_xyxy is not None:
            left, top, right, bottom = prompt.box_xyxy
            canvas[round(top) : round(bottom), round(left) : round(right)] = True
        for point in sorted(prompt.points, key=lambda point: not point.positive):
            rows = slice(max(0, round(point.y) - self.radius), round(point.y) + self.radius + 1)
            columns = slice(max(0, round(point.x) - self.radius), round(point.x) + self.radius + 1)
            canvas[rows, columns] = point.positive
        return CroppedMask.from_region(canvas).detached()
