"""What the matrix rests on: the forms of masks, and that the product is left as it was."""

from __future__ import annotations

import numpy as np
import pytest
from supervision.detection.compact_mask import CompactMask

from sam2_block.blocks.segment import v1
from tests.matrix.comparing import differences
from tests.matrix.definitions import SEGMENT, workflow
from tests.matrix.running import FORMS, run
from tests.matrix.scenes import MANY, SCENES

OURS_ALONE = workflow([{**SEGMENT, "name": "sam"}])


@pytest.mark.parametrize("scene", SCENES)
def test_compact_masks_are_the_same_masks(scene: str) -> None:
    for result, picture in zip(
        run(OURS_ALONE, SCENES[scene], form="compact"), SCENES[scene], strict=True
    ):
        masks = result["sam"]["predictions"].mask
        assert isinstance(masks, CompactMask)
        np.testing.assert_array_equal(masks.to_dense(), picture.masks)


def test_filled_masks_are_other_masks() -> None:
    (result,) = run(OURS_ALONE, (MANY,), form="filled")
    filled = result["sam"]["predictions"].mask
    assert (filled >= MANY.masks).all()
    assert (filled & ~MANY.masks).any(axis=(1, 2)).tolist() == [
        True,
        True,
        True,
        False,
        True,
        False,
    ]


@pytest.mark.parametrize("form", FORMS)
def test_product_is_left_as_it_was(form: str) -> None:
    before = v1.complete_detections
    run(OURS_ALONE, (MANY,), form=form)
    assert v1.complete_detections is before


def test_comparison_tells_results_apart() -> None:
    (one,), (other,) = (run(OURS_ALONE, (MANY,)) for _ in range(2))
    assert all("detection_id" in place for place in differences(one, other))
    other["sam"]["predictions"].mask[0, 0, 0] = True
    other["sam"]["predictions"].data["class_name"][1] = "other"
    other["sam"]["scores"].pop()
    found = [place for place in differences(one, other) if "detection_id" not in place]
    assert found == [
        ".sam.predictions.class_name[1] differs",
        ".sam.predictions.mask differs",
        ".sam.scores: 6 and 5 elements",
    ]
