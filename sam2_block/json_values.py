"""Values as JSON has them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def json_value(value: Any) -> Any:
    """Return a value without what JSON cannot hold, as deep as it goes.

    A float that is not finite becomes None, of which JSON writes `null`. Arrays become lists, and
    numbers of NumPy those of Python. Values that JSON knows nothing of (times, images) stay as
    they are: their writer decides.
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
