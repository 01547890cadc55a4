from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sam2_block.errors import OptionError
from sam2_block.segment_options import SegmentOptions


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"threshold": 1.5}, r"threshold: expected 0 to 1; got 1\.5\."),
        ({"threshold": -0.1}, r"threshold: expected 0 to 1; got -0\.1\."),
        ({"threshold": float("nan")}, r"threshold: expected 0 to 1; got nan\."),
        ({"threshold": "0.5"}, "threshold: expected a number from 0 to 1; got '0.5'"),
        ({"threshold": None}, "threshold: expected a number from 0 to 1; got None"),
        ({"threshold": True}, "threshold: expected a number from 0 to 1; got True"),
        ({"version": "huge"}, "version: expected one of demo, .*; got 'huge'"),
        ({"multimask_output": 3}, "multimask_output: expected true or false; got 3"),
        ({"class_filter": "coin"}, "class_filter: expected a list of class names; got 'coin'"),
        ({"class_filter": ["coin", 3]}, r"class_filter: expected a list .*; got \['coin', 3\]"),
        ({"confidence_source": "both"}, "confidence_source: expected 'detector' or 'sam'; got 'b"),
        (
            {"invalid_boxes": "skip"},
            "invalid_boxes: expected 'empty' or 'error' or 'drop'; got 'skip'",
        ),
    ],
)
def test_option_outside_its_range(options: dict[str, Any], says: str) -> None:
    with pytest.raises(OptionError, match=f"^{says}"):
        SegmentOptions(**options)


@pytest.mark.parametrize("value", [3, 0.5, object()])
def test_class_filter_that_cannot_be_iterated(value: Any) -> None:
    with pytest.raises(OptionError, match=r"^class_filter: expected a list of class names"):
        SegmentOptions(class_filter=value)


def test_threshold_may_be_a_numpy_number() -> None:
    assert SegmentOptions(threshold=np.float32(0.5), multimask_output=np.bool_(True)).threshold
