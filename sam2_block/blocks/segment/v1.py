"""`sam2_block/segment@v1`: the block that turns a detector's boxes into masks."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

from roboflow_workflows.execution_engine.entities.base import (
    Batch,
    WorkflowImageData,
)
from roboflow_workflows.prototypes.block import (
    BlockResult,
    WorkflowBlockManifest,
)

from sam2_block.backends.protocol import Backend
from sam2_block.blocks.block import Sam2Block
from sam2_block.blocks.engine.coordinates import in_pixels_of
from sam2_block.blocks.engine.declarations import as_engine_errors
from sam2_block.blocks.engine.representation import (
    complete_detections,
    output_settings,
    prompt_detections,
)
from sam2_block.blocks.segment.v1_manifest import SegmentManifestV1
from sam2_block.blocks.shared_fields import ExecutionMode
from sam2_block.concurrent_map import map_concurrently
from sam2_block.rows.columns import SAM2_SCORE
from sam2_block.segment_options import ConfidenceSource, InvalidBoxes, SegmentOptions
from sam2_block.segmentation import segment_image


class SegmentBlockV1(Sam2Block):
    """Segments the objects in boxes and at points of a batch of images."""

    @classmethod
    def get_manifest(cls) -> type[WorkflowBlockManifest]:
        """Return the manifest."""
        return SegmentManifestV1

    def run(
        self,
        images: Batch[WorkflowImageData],
        boxes: Batch[Any] | None,
        points: Batch[Any] | list[Any] | None,
        version: str,
        threshold: float,
        multimask_output: bool | None,
        class_filter: list[str] | None,
        confidence_source: ConfidenceSource,
        invalid_boxes: InvalidBoxes,
        execution_mode: ExecutionMode,
        api_url: str | None,
        api_key: str | None,
    ) -> BlockResult:
        """Segment every image of the batch; the parameters are the fields of the manifest."""
        with as_engine_errors():
            options = SegmentOptions(
                version=version,
                threshold=threshold,
                # `null` selects the default of the field.
                multimask_output=True if multimask_output is None else multimask_output,
                class_filter=class_filter,
                confidence_source=confidence_source,
                invalid_boxes=invalid_boxes,
            )
            backend = self._backend(version, execution_mode, api_url, api_key)
        jobs = _jobs(images, boxes, points)
        segment = functools.partial(self._segment_one, backend, options)
        return map_concurrently(segment, jobs, backend.concurrent_images)

    def _segment_one(
        self, backend: Backend, options: SegmentOptions, job: _ImageJob
    ) -> dict[str, Any]:
        """Segment one image, and return the outputs of the block."""
        with as_engine_errors(job.index):
            rows = segment_image(
                backend,
                job.image.numpy_image,
                in_pixels_of(job.image, prompt_detections(job.boxes)),
                job.points,
                options,
                output=output_settings(self._settings.output),
                limits=self._settings.limits,
            )
        return {
            "predictions": complete_detections(rows, job.image),
            "scores": rows.data[SAM2_SCORE].tolist(),
        }


@dataclass(frozen=True)
class _ImageJob:
    """One image of a batch and its prompts, as the engine passes them."""

    index: tuple[int, ...]
    image: WorkflowImageData
    boxes: Any
    points: Any


def _jobs(
    images: Batch[WorkflowImageData],
    boxes: Batch[Any] | None,
    points: Batch[Any] | list[Any] | None,
) -> list[_ImageJob]:
    boxes_of_images = boxes if boxes is not None else [None] * len(images)
    points_of_images = points if isinstance(points, Batch) else [points] * len(images)
    items = zip(images.iter_with_indices(), boxes_of_images, points_of_images, strict=True)
    return [_ImageJob(*indexed, *prompts) for indexed, *prompts in items]
