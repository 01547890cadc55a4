"""`sam2_block/embed@v1`: the block that encodes an image before it is prompted."""

from __future__ import annotations

import logging

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
from sam2_block.blocks.embed.v1_manifest import EmbedManifestV1
from sam2_block.blocks.engine.declarations import as_engine_errors
from sam2_block.blocks.shared_fields import ExecutionMode
from sam2_block.concurrent_map import map_concurrently
from sam2_block.images import as_image
from sam2_block.messages.warn_once import warn_once

logger = logging.getLogger(__name__)


class EmbedBlockV1(Sam2Block):
    """Encodes a batch of images and returns the images unchanged."""

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
        with as_engine_errors():
            backend = self._backend(version, execution_mode, api_url, api_key)

        def embed(item: _Item) -> dict[str, WorkflowImageData]:
            number, (index, image) = item
            with as_engine_errors(index):
                pixels = as_image(image.numpy_image)
                if _stays_cached(backend, number, len(images)):
                    backend.embed(pixels, version=version)
            return {"image": image}

        items = list(enumerate(images.iter_with_indices()))
        return map_concurrently(embed, items, backend.concurrent_images)


_Item = tuple[int, tuple[tuple[int, ...], WorkflowImageData]]
"""The image's number, counted from 0, its index in the engine's batch, and the image."""


def _stays_cached(backend: Backend, number: int, total: int) -> bool:
    """Return whether the image's embedding will still be cached when the next step begins.

    The engine completes this step for the whole batch first. Embeddings beyond the cache's capacity
    would evict the first ones, and every image would be encoded twice; if they are skipped, the
    next step encodes those images once. The first image is always encoded: it warms up the model.
    """
    capacity: int | None = getattr(backend, "embedding_capacity", None)
    if capacity is None or number < max(capacity, 1):
        return True
    warn_once(
        logger,
        "embed beyond the cache",
        "%s embeds %d images at once, and the cache holds the embeddings of %d: the others are"
        " encoded when they are segmented; raise SAM2_BLOCK_CACHE_BYTES to embed all",
        "sam2_block/embed@v1",
        total,
        capacity,
    )
    return False
