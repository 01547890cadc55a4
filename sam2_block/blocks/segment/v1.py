"""`sam2_block/segment@v1`: the block that turns a detector's boxes into masks."""

from __future__ import annotations

from typing import Any

from roboflow_workflows.execution_engine.entities.base import (
    Batch,
    WorkflowImageData,
)
from roboflow_workflows.prototypes.block import (
    BlockResult,
    WorkflowBlockManifest,
)

from sam2_block.blocks.base import Sam2Block
from sam2_block.blocks.coordinates import in_pixels_of
from sam2_block.blocks.declarations import errors_are_the_callers
from sam2_block.blocks.manifest import ExecutionMode
from sam2_block.blocks.representation import (
    complete_detections,
    mask_form,
    prompt_detections,
)
from sam2_block.blocks.segment.v1_manifest import SegmentManifestV1
from sam2_block.columns import SAM2_SCORE
from sam2_block.concurrent_map import map_concurrently
from sam2_block.prompt_limits import PromptLimits
from sam2_block.prompts import InvalidBoxes
from sam2_block.segment_options import ConfidenceSource, SegmentOptions
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
            backend = self._backend(version, execution_mode, api_url, api_key)
        dense_bytes = self._settings.dense_mask_bytes
        form = mask_form(self._settings.masks)
        limits = PromptLimits.of(self._settings)

        def segment(item: _Item) -> dict[str, Any]:
            (index, image), boxes_of_image, points_of_image = item
            with errors_are_the_callers(index):
                prompts = in_pixels_of(image, prompt_detections(boxes_of_image))
                rows = segment_image(
                    backend,
                    image.numpy_image,
                    prompts,
                    points_of_image,
                    options,
                    dense_mask_bytes=dense_bytes,
                    masks=form,
                    limits=limits,
                )
            return {
                "predictions": complete_detections(rows, image),
                "scores": rows.data[SAM2_SCORE].tolist(),
            }

        boxes_of_images = boxes if boxes is not None else [None] * len(images)
        points_of_images = points if isinstance(points, Batch) else [points] * len(images)
        items = zip(images.iter_with_indices(), boxes_of_images, points_of_images, strict=True)
        return map_concurrently(segment, list(items), backend.concurrent_images)


_Item = tuple[tuple[tuple[int, ...], WorkflowImageData], Any, Any]
"""An index with its image, and the boxes and the points on it."""
