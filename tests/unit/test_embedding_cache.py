from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from sam2_block.backends.local.embedding_cache import EmbeddingCache
from sam2_block.images import content_key
from sam2_block.messages.warn_once import forget_warnings
from sam2_block.sam2.sam2_modules import ModulesEmbedding

PATIENCE_S = 30.0


def embedding(nbytes: int) -> ModulesEmbedding:
    """Make one whose three tensors take `nbytes` together."""
    tensor, rest = torch.zeros(1, dtype=torch.uint8), torch.zeros(nbytes - 2, dtype=torch.uint8)
    made = ModulesEmbedding(rest, (tensor, tensor))
    assert made.nbytes == nbytes
    return made


class Encoder:
    """Makes embeddings of a given size and remembers for which keys."""

    def __init__(self, cache: EmbeddingCache, nbytes: int = 10) -> None:
        self.cache, self.nbytes = cache, nbytes
        self.made: list[str] = []

    def get(self, key: str, nbytes: int | None = None) -> ModulesEmbedding:
        def make() -> ModulesEmbedding:
            self.made.append(key)
            return embedding(nbytes or self.nbytes)

        return self.cache.get_or_make(key, make)


def test_bytes_are_those_of_all_tensors_in_their_type() -> None:
    half = torch.zeros((1, 2, 3), dtype=torch.float16)
    assert (
        ModulesEmbedding(half, (half, torch.zeros(5, dtype=torch.float32))).nbytes == 12 + 12 + 20
    )


def test_second_request_gets_the_same_object() -> None:
    encoder = Encoder(EmbeddingCache(100))
    assert encoder.get("a") is encoder.get("a")
    assert encoder.made == ["a"]


def test_least_recently_used_leaves_first() -> None:
    encoder = Encoder(EmbeddingCache(30))
    for key in ("a", "b", "c"):
        encoder.get(key)
    encoder.get("a")  # now b is the oldest
    encoder.get("d")
    encoder.made.clear()
    for key in ("a", "c", "d", "b"):
        encoder.get(key)
    assert encoder.made == ["b"]


def test_one_large_embedding_drives_out_several() -> None:
    encoder = Encoder(EmbeddingCache(30))
    for key in ("a", "b", "c"):
        encoder.get(key)
    encoder.get("large", nbytes=25)
    assert encoder.cache.nbytes == 25
    encoder.made.clear()
    encoder.get("large")
    assert encoder.made == []


def test_bytes_stay_within_the_budget_whatever_comes() -> None:
    rng = np.random.default_rng(0)
    encoder = Encoder(EmbeddingCache(100))
    for _ in range(300):
        encoder.get(str(rng.integers(20)), nbytes=int(rng.integers(3, 120)))
        assert encoder.cache.nbytes <= 100
    assert encoder.cache.nbytes > 0


def test_budget_is_reached_exactly() -> None:
    encoder = Encoder(EmbeddingCache(20))
    for key in ("a", "b", "a", "b"):
        encoder.get(key)
    assert (encoder.made, encoder.cache.nbytes) == (["a", "b"], 20)


def test_larger_than_the_budget_is_made_not_kept_and_drives_nothing_out() -> None:
    encoder = Encoder(EmbeddingCache(20))
    encoder.get("small")
    assert encoder.get("huge", nbytes=21).nbytes == 21
    assert encoder.cache.nbytes == 10
    encoder.get("small")
    encoder.get("huge", nbytes=21)
    assert encoder.made == ["small", "huge", "huge"]


def test_budget_of_nothing_keeps_nothing() -> None:
    encoder = Encoder(EmbeddingCache(0))
    encoder.get("a")
    encoder.get("a")
    assert (encoder.made, encoder.cache.nbytes) == (["a", "a"], 0)


def test_clear_forgets() -> None:
    encoder = Encoder(EmbeddingCache(100))
    encoder.get("a")
    encoder.cache.clear()
    assert encoder.cache.nbytes == 0
    encoder.get("a")
    assert (encoder.made, encoder.cache.nbytes) == (["a", "a"], 10)


def test_failure_is_not_kept() -> None:
    cache = EmbeddingCache(100)

    def fail() -> ModulesEmbedding:
        raise MemoryError("out of memory")

    with pytest.raises(MemoryError, match="out of memory"):
        cache.get_or_make("a", fail)
    assert cache.nbytes == 0
    made = embedding(10)
    assert cache.get_or_make("a", lambda: made) is made


def test_threads_that_ask_for_one_image_encode_it_once() -> None:
    cache, made, together = EmbeddingCache(100), [], threading.Barrier(8)

    def make() -> ModulesEmbedding:
        made.append(1)
        return embedding(10)

    def ask(_: int) -> ModulesEmbedding:
        together.wait(PATIENCE_S)
        return cache.get_or_make("a", make)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(8)))
    # Also for one that asks just after the first has landed: what landed is kept.
    assert len(made) == 1
    assert all(answer is answers[0] for answer in answers)
    assert cache.nbytes == 10


def test_embedding_that_lands_between_look_and_flight_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cache, of_another_thread = EmbeddingCache(100), embedding(10)
    run = cache._flights.run

    def land_first(key: object, fill: Callable[[], ModulesEmbedding]) -> ModulesEmbedding:
        monkeypatch.undo()
        cache.get_or_make(key, lambda: of_another_thread)
        return run(key, fill)

    monkeypatch.setattr(cache._flights, "run", land_first)
    assert cache.get_or_make("a", lambda: embedding(10)) is of_another_thread
    assert cache.nbytes == 10


def test_bytes_are_right_after_many_threads() -> None:
    cache = EmbeddingCache(55)

    def ask(seed: int) -> None:
        for key in np.random.default_rng(seed).integers(12, size=200):
            assert cache.get_or_make(int(key), lambda: embedding(10)).nbytes == 10

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(8)))
    assert cache.nbytes == 50


def test_same_pixels_same_key(coins: np.ndarray) -> None:
    assert content_key(coins) == content_key(coins.copy())
    # Not contiguous, as a crop or a BGRA image without its alpha is.
    strided = np.dstack([coins, coins[..., :1]])[..., :3]
    assert not strided.flags.c_contiguous
    assert content_key(coins) == content_key(strided)


def one_pixel_changed(image: np.ndarray) -> np.ndarray:
    changed = image.copy()
    changed[-1, -1, -1] ^= 1
    return changed


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(one_pixel_changed, id="one bit"),
        pytest.param(lambda image: image[:, ::-1], id="mirrored"),
        # The same bytes in another shape.
        pytest.param(lambda image: image.reshape(384, 303, 3), id="reshaped"),
        pytest.param(lambda image: image.reshape(303, -1), id="grey of three times the width"),
    ],
)
def test_other_pixels_other_key(
    coins: np.ndarray, other: Callable[[np.ndarray], np.ndarray]
) -> None:
    assert content_key(coins) != content_key(other(coins))


# --- images that come round again ---


def test_an_image_encoded_again_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    forget_warnings()
    encoder = Encoder(EmbeddingCache(30))
    for key in [*"abcd", *"abcd", *"abcd"]:  # as two steps that go over all images
        encoder.get(key)
    (message,) = caplog.messages
    assert message == (
        "an image was encoded again, as its embedding had been evicted from the cache of 30 bytes;"
        " if steps process more than 3 images, raise SAM2_BLOCK_CACHE_BYTES"
    )


@pytest.mark.parametrize(
    ("max_bytes", "keys"),
    [
        pytest.param(30, [str(frame) for frame in range(500)], id="a stream of new frames"),
        pytest.param(30, list("abcabcabc"), id="as many images as there is room for"),
        pytest.param(0, list("aa"), id="no cache: that is what the operator wants"),
    ],
)
def test_nothing_is_warned_of(
    max_bytes: int, keys: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    forget_warnings()
    encoder = Encoder(EmbeddingCache(max_bytes))
    for key in keys:
        encoder.get(key)
    assert caplog.messages == []


def test_what_is_remembered_of_embeddings_that_left_is_bounded() -> None:
    encoder = Encoder(EmbeddingCache(10))
    for frame in range(3000):
        encoder.get(str(frame))
    assert len(encoder.cache._evicted) == 1000


def test_capacity_is_known_with_the_first_embedding() -> None:
    encoder = Encoder(EmbeddingCache(100))
    assert encoder.cache.capacity is None
    encoder.get("a")
    assert encoder.cache.capacity == 10
    encoder.get("larger", nbytes=30)
    assert encoder.cache.capacity == 3
    encoder.get("larger than all", nbytes=200)
    assert encoder.cache.capacity == 0
