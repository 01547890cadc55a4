"""How to segment: the options of one request, and their checks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypedDict, get_args

import numpy as np

from sam2_block.errors import OptionError
from sam2_block.messages.short_repr import short_repr
from sam2_block.versions import DEFAULT, check_version

if TYPE_CHECKING:
    from sam2_block.images.image_inputs import ColorOrder

ConfidenceSource = Literal["detector", "sam"]
InvalidBoxes = Literal["empty", "error", "drop"]

_NUMBERS = (int, float, np.integer, np.floating)


class SegmentKeywords(TypedDict, total=False):
    """The keyword arguments of `Segmenter.segment`; see there."""

    color: ColorOrder
    threshold: float
    multimask_output: bool
    class_filter: Sequence[str] | None
    confidence_source: ConfidenceSource
    invalid_boxes: InvalidBoxes


@dataclass(frozen=True)
class SegmentOptions:
    """How to segment; the fields are those of the block `sam2_block/segment@v1`.

    Attributes:
        version: One of `sam2_block.versions.NAMES`.
        threshold: Minimum predicted quality of a mask, 0 to 1; rows below it are left out.
        multimask_output: Whether SAM 2 proposes three masks, of which the best is selected, or one.
        class_filter: Names of the classes to segment; other detections are dropped. None or
            empty for all.
        confidence_source: Whether `confidence` is SAM's predicted quality or the detector's.
        invalid_boxes: Whether a box that is not finite, or has no area in the image, gives an
            empty mask (`empty`), no row (`drop`) or an error.

    Raises:
        OptionError: A value is outside its range.
    """

    version: str = DEFAULT
    threshold: float = 0.0
    multimask_output: bool = True
    class_filter: Sequence[str] | None = None
    confidence_source: ConfidenceSource = "sam"
    invalid_boxes: InvalidBoxes = "empty"

    def __post_init__(self) -> None:
        check_version(self.version)
        check_threshold(self.threshold)
        check_multimask_output(self.multimask_output)
        if self.class_filter is not None:
            check_class_filter(self.class_filter)
        for name, allowed in (
            ("confidence_source", get_args(ConfidenceSource)),
            ("invalid_boxes", get_args(InvalidBoxes)),
        ):
            if getattr(self, name) not in allowed:
                raise OptionError(
                    f"{name}: expected {' or '.join(map(repr, allowed))};"
                    f" got {short_repr(getattr(self, name))}."
                )


def check_threshold(value: Any) -> float:
    """Return a number from 0 to 1.

    Raises:
        OptionError: The value is anything else; bools and text are not numbers.
    """
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, _NUMBERS):
        raise OptionError(f"threshold: expected a number from 0 to 1; got {short_repr(value)}.")
    if not 0 <= value <= 1:
        raise OptionError(f"threshold: expected 0 to 1; got {short_repr(value)}.")
    return float(value)


def check_multimask_output(value: Any) -> bool:
    """Return a bool; 1 and 0 are accepted.

    Raises:
        OptionError: The value is anything else, such as text: `bool` would make any text true.
    """
    if not isinstance(value, (np.bool_, *_NUMBERS)) or value not in (True, False):
        raise OptionError(f"multimask_output: expected true or false; got {short_repr(value)}.")
    return bool(value)


def check_class_filter(value: Any) -> list[str]:
    """Return a list of class names.

    Raises:
        OptionError: The value is anything else, such as a single name.
    """
    is_list = isinstance(value, (list, tuple, set, frozenset))
    if not is_list or not all(isinstance(name, str) for name in value):
        raise OptionError(f"class_filter: expected a list of class names; got {short_repr(value)}.")
    return list(value)
