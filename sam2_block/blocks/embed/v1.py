"""`sam2_block/embed@v1`: the block that encodes an image ahead of the prompts on it."""

from __future__ import annotations

from roboflow_workflows.execution_engine.entities.base import (
    Batch,
    WorkflowImageData,
)
from roboflow_workflows.prototypes.block import (
    BlockResult,
    WorkflowBlockManifest,
)

from sam2_block.blocks.base import Sam2Block
from sam2_block.blocks.declarations import errors_are_the_callers
from sam2_block.blocks.embed.v1_manifest import EmbedManifestV1
from sam2_block.blocks.manifest import ExecutionMode
from sam2_block.concurrent_map import map_concurrently
from sam2_block.images import as_image
from sam2_block.versions import check_version


class EmbedBlockV1(Sam2Block):
    """Encodes a batch of images, and hands them on as they are."""

    @classmethod
    def get_manifest(cls) -> type[WorkflowBlockManifest]:
        """Return the manifest."""
        return EmbedManifestV1

    def run(
        self,
        images: Batch[WorkflowImageData],
        version: str,
        execution_mode: ExecutionMode,
        api_url: str | None,
        api_key: str | None,
    ) -> BlockResult:
        """Encode every image of the batch; the parameters are the fields of the manifest."""
        with errors_are_the_callers():
            check_version(version)
            backend = self._backend(execution_mode, api_url, api_key)

        def embed(item: tuple[tuple[int, ...], WorkflowImageData]) -> dict[str, WorkflowImageData]:
            index, image = item
            with errors_are_the_callers(index):
                backend.embed(as_image(image.numpy_image), version=version)
            return {"image": image}

        return map_concurrently(embed, list(images.iter_with_indices()), backend.concurrent_images)
