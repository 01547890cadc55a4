"""`sam2_block/segment@v1`: the block that turns a detector's boxes into masks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import supervision as sv
from roboflow_workflows.execution_engine.entities.base import (
    Batch,
    WorkflowImageData,
)
from roboflow_workflows.prototypes.block import (
    BlockResult,
    WorkflowBlock,
    WorkflowBlockManifest,
)

from sam2_block.backends.base import Backend
from sam2_block.blocks.declarations import (
    engine_error,
    errors_are_the_callers,
    refuse_tensor_representation,
)
from sam2_block.blocks.results import complete_detections
from sam2_block.blocks.segment.v1_manifest import SegmentManifestV1
from sam2_block.detections import SAM2_SCORE
from sam2_block.errors import SettingsError
from sam2_block.prompts import InvalidBoxes
from sam2_block.segmenter import ConfidenceSource, SegmentOptions, segment_image
from sam2_block.settings import Settings


class SegmentBlockV1(WorkflowBlock):
    """Segments the objects in boxes and at points of a batch of images.

    Args:
        device: The operator's setting `SAM2_BLOCK_DEVICE`.
        precision: The operator's setting `SAM2_BLOCK_PRECISION`.
        cache_bytes: The operator's setting `SAM2_BLOCK_CACHE_BYTES`.
        checkpoint_dir: The operator's setting `SAM2_BLOCK_CHECKPOINT_DIR`.
        backend: Where SAM 2 runs, in place of this process with the settings above.
    """

    def __init__(
        self,
        device: str,
        precision: str,
        cache_bytes: int,
        checkpoint_dir: Path | None,
        backend: Backend | None,
    ) -> None:
        try:
            settings = Settings().override(
                device=device,
                precision=precision,
                cache_bytes=cache_bytes,
                checkpoint_dir=checkpoint_dir,
            )
        except SettingsError as error:
            raise engine_error(error) from error
        if backend is None:
            from sam2_block.backends.local.backend import shared_backend

            backend = shared_backend(settings)
        self._backend = backend

    @classmethod
    def get_init_parameters(cls) -> list[str]:
        """Return the names of the initializers that the block is made with."""
        return ["device", "precision", "cache_bytes", "checkpoint_dir", "backend"]

    @classmethod
    def get_manifest(cls) -> type[WorkflowBlockManifest]:
        """Return the manifest."""
        return SegmentManifestV1

    def run(
        self,
        images: Batch[WorkflowImageData],
        boxes: Batch[sv.Detections | None] | None,
        points: Batch[Any] | list[Any] | None,
        version: str,
        threshold: float,
        multimask_output: bool | None,
        class_filter: list[str] | None,
        confidence_source: ConfidenceSource,
        invalid_boxes: InvalidBoxes,
    ) -> BlockResult:
        """Segment every image of the batch; the parameters are the fields of the manifest."""
        refuse_tensor_representation()
        with errors_are_the_callers():
            options = SegmentOptions(
                version=version,
                threshold=threshold,
                # `null` stands for the default, as the field says of itself.
                multimask_output=True if multimask_output is None else multimask_output,
                class_filter=class_filter,
                confidence_source=confidence_source,
                invalid_boxes=invalid_boxes,
            )
        boxes_of_images = boxes if boxes is not None else [None] * len(images)
        points_of_images = points if isinstance(points, Batch) else [points] * len(images)
        results = []
        for (index, image), boxes_of_image, points_of_image in zip(
            images.iter_with_indices(), boxes_of_images, points_of_images, strict=True
        ):
            with errors_are_the_callers(image=".".join(map(str, index))):
                rows = segment_image(
                    self._backend, image.numpy_image, boxes_of_image, points_of_image, options
                )
            predictions = complete_detections(rows, image)
            results.append(
                {"predictions": predictions, "scores": predictions.data[SAM2_SCORE].tolist()}
            )
        return results
