from __future__ import annotations

import datetime
import json
import math
from typing import Any

import numpy as np
import pytest

from sam2_block.json_values import json_value

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (NAN, None),
        (INF, None),
        (-INF, None),
        (np.float16(NAN), None),
        (np.float32(INF), None),
        (np.float64(-INF), None),
        (np.longdouble(NAN), None),
        (np.longdouble(0.5), 0.5),
        (np.float32(0.5), 0.5),
        (np.int8(-3), -3),
        (np.uint64(2**64 - 1), 2**64 - 1),
        (np.bool_(True), True),
        (np.str_("a"), "a"),
        (np.array([1.0, NAN]), [1.0, None]),
        (np.array([[INF], [2]]), [[None], [2.0]]),
        (np.array(NAN), None),
        (np.array([NAN, {"a": [NAN]}, "b"], dtype=object), [None, {"a": [None]}, "b"]),
        ((1, NAN), [1, None]),
        ({"a": {"b": [1, (NAN, np.float32(INF))]}}, {"a": {"b": [1, [None, None]]}}),
        ({1.5}, [1.5]),
        (None, None),
        (True, True),
        ("nan", "nan"),
        (2**100, 2**100),
        ([], []),
    ],
)
def test_value_is_one_of_json(value: Any, expected: Any) -> None:
    found = json_value(value)
    assert found == expected
    assert type(found) is type(expected)
    json.dumps(found, allow_nan=False)


def test_value_that_json_does_not_know_stays() -> None:
    now = datetime.datetime(2024, 5, 1)
    assert json_value([now]) == [now]
    assert math.isfinite(json_value(5e-324))
