"""Conversion of values to types that JSON has."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def json_value(value: Any) -> Any:
    """Convert a value, and recursively its items, to types that JSON has.

    A float that is not finite becomes None, which is `null` in JSON. Arrays become lists, and
    NumPy's numbers Python's. Values of other types (times, images) are returned unchanged: their
    writer decides.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: json_value(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return json_value(value.tolist())
    if isinstance(value, (list, tuple, set, frozenset)):
        return [json_value(item) for item in value]
    return value
