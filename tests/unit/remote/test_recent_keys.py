from __future__ import annotations

import threading
from collections.abc import Hashable
from concurrent.futures import ThreadPoolExecutor

import pytest

from sam2_block.backends.remote.recent_keys import RecentKeys


def known(most: int, *keys: Hashable) -> RecentKeys:
    images = RecentKeys(most)
    for key in keys:
        images.add(key)
    return images


def held(images: RecentKeys, keys: str) -> str:
    return "".join(key for key in keys if key in images)


@pytest.mark.parametrize(
    ("most", "added", "remembered"),
    [
        (3, "", ""),
        (3, "ab", "ab"),
        (3, "abc", "abc"),
        (3, "abcd", "bcd"),
        (1, "abc", "c"),
        (0, "abc", ""),
        # Added again is added last.
        (3, "abcad", "acd"),
        (2, "aaab", "ab"),
    ],
)
def test_the_latest_are_remembered(most: int, added: str, remembered: str) -> None:
    assert held(known(most, *added), "abcd") == remembered


def test_asking_keeps_nothing_alive() -> None:
    images = known(2, "a", "b")
    assert "a" in images
    images.add("c")
    assert held(images, "abc") == "bc"


def test_forgotten_on_demand() -> None:
    images = known(2, "a", "b")
    images.discard("a")
    images.discard("never added")
    assert held(images, "ab") == "b"
    # The place is free.
    images.add("c")
    assert held(images, "abc") == "bc"


def test_key_is_url_version_and_image_together() -> None:
    images = known(9, ("http://a", "hiera_tiny", "id"))
    assert ("http://a", "hiera_tiny", "id") in images
    assert ("http://b", "hiera_tiny", "id") not in images
    assert ("http://a", "hiera_large", "id") not in images


def test_threads_may_all_add_and_discard_at_once() -> None:
    images = RecentKeys(8)
    start = threading.Barrier(8, timeout=30)

    def work(thread: int) -> None:
        start.wait()
        for index in range(500):
            images.add((thread, index))
            images.discard((thread + 1, index))
            assert (thread, -1) not in images

    with ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(work, thread) for thread in range(8)]:
            future.result(30)
    keys = [(thread, index) for thread in range(8) for index in range(500)]
    assert sum(key in images for key in keys) <= 8


def test_keys_expire() -> None:
    now = [0.0]
    keys = RecentKeys(10, lifetime_s=5.0, clock=lambda: now[0])
    keys.add("a")
    now[0] = 4.9
    assert "a" in keys
    keys.add("b")
    now[0] = 5.0
    assert "a" not in keys
    assert "b" in keys
    keys.add("a")
    now[0] = 9.9
    assert "a" in keys
    assert "b" not in keys
