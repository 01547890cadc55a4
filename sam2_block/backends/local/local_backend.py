"""The local backend: loads models, caches embeddings and decodes prompts."""

from __future__ import annotations

from collections.abc import Sequence

from sam2_block import process_state
from sam2_block.backends.local.embedding_cache import EmbeddingCache
from sam2_block.backends.local.image_encoding import encode
from sam2_block.backends.local.model_memory_errors import converting_memory_errors
from sam2_block.backends.local.models.model_registry import MODELS, LoadedModel
from sam2_block.backends.local.prompt_decoding import decode
from sam2_block.backends.local.upsample import LowResMask
from sam2_block.compute.compute_pool import COMPUTE_POOL
from sam2_block.images import Image, content_key
from sam2_block.prompts import Prompt
from sam2_block.sam2.network import Embedding
from sam2_block.settings import LocalSettings


class LocalBackend:
    """Runs SAM 2 in this process. Thread-safe; nothing is loaded before the first call.

    Args:
        settings: The operator's settings.
    """

    concurrent_images = 1

    def __init__(self, settings: LocalSettings) -> None:
        self.settings = settings
        self.embeddings = EmbeddingCache(settings.cache_bytes)

    @property
    def embedding_capacity(self) -> int | None:
        """How many embeddings the cache holds at once; None before the first."""
        return self.embeddings.capacity

    def predict(
        self, image: Image, prompts: Sequence[Prompt], *, version: str, multimask_output: bool
    ) -> list[LowResMask]:
        """Predict a mask for every prompt; see `Backend.predict`."""
        with (
            MODELS.use(version, self.settings, self) as loaded,
            converting_memory_errors(version, loaded.compute),
        ):
            embedding = self._embedding(loaded, image)
            return COMPUTE_POOL.run(
                loaded.compute.device,
                lambda: decode(
                    loaded.network,
                    loaded.compute,
                    embedding,
                    prompts,
                    (image.shape[0], image.shape[1]),
                    multimask_output=multimask_output,
                ),
                max_cores=self.settings.max_cores,
            )

    def load(self, version: str) -> None:
        """Load the model; see `Backend.load`."""
        with MODELS.use(version, self.settings, self):
            pass

    def embed(self, image: Image, *, version: str) -> None:
        """Encode an image into the cache; see `Backend.embed`."""
        with (
            MODELS.use(version, self.settings, self) as loaded,
            converting_memory_errors(version, loaded.compute),
        ):
            self._embedding(loaded, image)

    def close(self) -> None:
        """Drop the embeddings, and the models that no other backend uses; a call reloads them."""
        self.embeddings.clear()
        MODELS.release(self)

    def _embedding(self, loaded: LoadedModel, image: Image) -> Embedding:
        return self.embeddings.get_or_make(
            (loaded.key, content_key(image)),
            lambda: COMPUTE_POOL.run(
                loaded.compute.device,
                lambda: encode(loaded.network, loaded.compute, image),
                max_cores=self.settings.max_cores,
                max_images=self.settings.max_encodes,
            ),
        )


def shared_backend(settings: LocalSettings, user: object = None) -> LocalBackend:
    """Return the process's backend for these settings, so that steps share its embeddings.

    Args:
        settings: The operator's settings.
        user: See `process_state.SharedObjects.get`.
    """
    return process_state.SHARED.get(("local", settings), lambda: LocalBackend(settings), user)
