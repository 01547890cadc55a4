"""The local backend: models, embeddings and decoding put together."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import torch

from sam2_block.backends.local.decoder import decode
from sam2_block.backends.local.embedding_cache import EmbeddingCache, content_key
from sam2_block.backends.local.encoder import encode
from sam2_block.backends.local.model_registry import MODELS
from sam2_block.backends.local.upsample import LowResMask
from sam2_block.errors import ModelError
from sam2_block.images import Image
from sam2_block.prompts import Prompt
from sam2_block.settings import Settings


class LocalBackend:
    """Runs SAM 2 in this process. Thread-safe; nothing is loaded before the first call.

    Args:
        settings: The operator's settings.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.embeddings = EmbeddingCache(settings.cache_bytes)

    def predict(
        self, image: Image, prompts: Sequence[Prompt], *, version: str, multimask_output: bool
    ) -> list[LowResMask]:
        """Answer every prompt on one image; see `Backend.predict`."""
        loaded = MODELS.get(version, self.settings)
        try:
            embedding = self.embeddings.get_or_make(
                (loaded.key, content_key(image)),
                lambda: encode(loaded.model, loaded.compute, image),
            )
            return decode(
                loaded.model,
                loaded.compute,
                embedding,
                prompts,
                (image.shape[0], image.shape[1]),
                multimask_output=multimask_output,
            )
        except torch.OutOfMemoryError as error:
            raise ModelError(
                f"SAM 2 {version} ran out of memory on {loaded.compute.device}. Use a smaller"
                " version, SAM2_BLOCK_PRECISION=bf16, or another device."
            ) from error


_shared: dict[Settings, LocalBackend] = {}
_shared_lock = threading.Lock()


def shared_backend(settings: Settings) -> LocalBackend:
    """Return the process's backend for these settings, so that steps share what it has encoded."""
    with _shared_lock:
        return _shared.setdefault(settings, LocalBackend(settings))
