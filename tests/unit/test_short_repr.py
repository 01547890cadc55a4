"""Values in messages are short, whatever they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sam2_block.messages.short_repr import short_repr


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (7, "7"),
        ("coin", "'coin'"),
        (None, "None"),
        ([1, 2, True, 4], "[1, 2, True, 4]"),
        ({"x": 1}, "{'x': 1}"),
        ("x" * 80, "'" + "x" * 76 + "..."),
        (list(range(9)), "[0, 1, 2, 3, 4, 5, 6, 7, ...]"),
        pytest.param(10**5000, "<int>", id="more digits than Python writes"),
    ],
)
def test_text(value: Any, text: str) -> None:
    assert short_repr(value) == text


@pytest.mark.parametrize(
    "value",
    [
        "x" * 10_000_000,
        b"x" * 10_000_000,
        [0] * 1_000_000,
        [[0] * 100_000] * 100,
        {str(key): key for key in range(10_000)},
        set(range(10_000)),
        np.zeros((1000, 1000)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_length(value: Any) -> None:
    assert len(short_repr(value)) <= 80
