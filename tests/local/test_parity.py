"""In single precision the local backend gives what Meta's own predictor gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sam2_block.backends.local.local_backend import LocalBackend
from sam2_block.prompts import LabeledPoint, Prompt
from tests.local.metas_predictor import compare, metas_predictor

POSITIVE, NEGATIVE = LabeledPoint(210, 120), LabeledPoint(60, 300, positive=False)
PROMPTS = [
    Prompt(box_xyxy=(150.0, 40.0, 290.0, 210.0)),
    Prompt(box_xyxy=(0.0, 0.0, 512.0, 400.0)),  # the whole image
    Prompt(box_xyxy=(30.25, 200.5, 41.75, 215.0)),  # small, between pixels
    Prompt(points=(POSITIVE,)),
    Prompt(points=(POSITIVE, NEGATIVE)),
    Prompt(points=(POSITIVE, LabeledPoint(220, 180), NEGATIVE, LabeledPoint(0, 0, False))),
    Prompt(box_xyxy=(150.0, 40.0, 290.0, 210.0), points=(POSITIVE,)),
    Prompt(box_xyxy=(150.0, 40.0, 290.0, 210.0), points=(POSITIVE, NEGATIVE)),
]


@pytest.fixture(scope="module")
def photo(astronaut: np.ndarray) -> np.ndarray:
    return astronaut[:400]  # not square, so that swapped axes show


@pytest.fixture(scope="module", params=["demo", "hiera_tiny", "sam2.1_hiera_tiny"])
def version(request: pytest.FixtureRequest, checkpoint_of: Any) -> str:
    checkpoint_of(request.param)  # where the backend looks for it
    return str(request.param)


@pytest.fixture(scope="module")
def backend(cpu_settings: Any) -> LocalBackend:
    return LocalBackend(cpu_settings)


@pytest.fixture(scope="module")
def meta_predictor(version: str, checkpoint_of: Any, photo: np.ndarray) -> Any:
    """Meta's predictor on the same weights."""
    return metas_predictor(version, checkpoint_of(version), photo, "cpu")


@pytest.mark.parametrize("multimask_output", [True, False])
def test_masks_and_scores_are_those_of_metas_predictor(
    backend: LocalBackend,
    meta_predictor: Any,
    version: str,
    photo: np.ndarray,
    multimask_output: bool,
) -> None:
    answers = backend.predict(photo, PROMPTS, version=version, multimask_output=multimask_output)
    for prompt, agreement in zip(
        PROMPTS,
        compare(answers, meta_predictor, PROMPTS, multimask_output=multimask_output),
        strict=True,
    ):
        assert agreement.score_difference <= 1e-4, prompt
        assert agreement.iou >= 0.995, prompt


def test_the_prompts_tell_masks_apart(
    backend: LocalBackend, version: str, photo: np.ndarray
) -> None:
    # Without this, a model that answers every prompt alike would make the test above empty.
    answers = backend.predict(photo, PROMPTS, version=version, multimask_output=True)
    masks = [answer.mask() for answer in answers]
    assert len({(m.x, m.y, m.crop.tobytes()) for m in masks}) == len(PROMPTS)


def test_the_order_of_prompts_does_not_matter(
    backend: LocalBackend, version: str, photo: np.ndarray
) -> None:
    forward = backend.predict(photo, PROMPTS, version=version, multimask_output=True)
    backward = backend.predict(photo, PROMPTS[::-1], version=version, multimask_output=True)
    for one, other in zip(forward, backward[::-1], strict=True):
        assert one.score == pytest.approx(other.score, abs=1e-5)
        assert abs(one.mask().crop.sum() - other.mask().crop.sum()) <= 3


def test_grey_images_are_seen_as_three_equal_channels(
    backend: LocalBackend, version: str, photo: np.ndarray
) -> None:
    grey = np.ascontiguousarray(photo[..., 1])
    (alone,) = backend.predict(grey, PROMPTS[:1], version=version, multimask_output=True)
    (stacked,) = backend.predict(
        np.dstack([grey] * 3), PROMPTS[:1], version=version, multimask_output=True
    )
    assert alone.score == pytest.approx(stacked.score, abs=1e-6)


def test_colours_reach_the_model_in_rgb_order(
    backend: LocalBackend, version: str, photo: np.ndarray
) -> None:
    # The parity test holds it too; here it is said on its own: swapped channels change the answer.
    swapped = np.ascontiguousarray(photo[..., ::-1])
    (right,) = backend.predict(photo, PROMPTS[:1], version=version, multimask_output=True)
    (wrong,) = backend.predict(swapped, PROMPTS[:1], version=version, multimask_output=True)
    assert right.score != pytest.approx(wrong.score, abs=1e-6)
