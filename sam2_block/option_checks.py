"""What the options of a step may be, for a literal as for a value that comes at run time."""

from __future__ import annotations

from typing import Any

import numpy as np

from sam2_block.errors import OptionError
from sam2_block.short_repr import short_repr

_NUMBERS = (int, float, np.integer, np.floating)


def check_threshold(value: Any) -> float:
    """Return a number from 0 to 1.

    Raises:
        OptionError: It is anything else; truth values and text are no numbers.
    """
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, _NUMBERS):
        raise OptionError(f"threshold: expected a number from 0 to 1; got {short_repr(value)}.")
    if not 0 <= value <= 1:
        raise OptionError(f"threshold: expected 0 to 1; got {short_repr(value)}.")
    return float(value)


def check_multimask_output(value: Any) -> bool:
    """Return a truth value; 1 and 0 are taken for one.

    Raises:
        OptionError: It is anything else; as a bool, any text would be true.
    """
    if not isinstance(value, (np.bool_, *_NUMBERS)) or value not in (True, False):
        raise OptionError(f"multimask_output: expected true or false; got {short_repr(value)}.")
    return bool(value)


def check_class_filter(value: Any) -> list[str]:
    """Return a list of class names.

    Raises:
        OptionError: It is anything else, such as one name without its list.
    """
    is_list = isinstance(value, (list, tuple, set, frozenset))
    if not is_list or not all(isinstance(name, str) for name in value):
        raise OptionError(f"class_filter: expected a list of class names; got {short_repr(value)}.")
    return list(value)
