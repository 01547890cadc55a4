"""In single precision the local backend gives what Meta's own predictor gives."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.torch import load_file

from sam2_block.backends.local.backend import LocalBackend
from sam2_block.backends.local.checkpoints import find_checkpoint
from sam2_block.backends.local.model import build_model
from sam2_block.prompts import LabeledPoint, Prompt
from sam2_block.versions import META_RELEASES

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
def version(request: pytest.FixtureRequest, random_checkpoint: Any) -> str:
    if request.param in META_RELEASES:
        random_checkpoint(request.param)
    return str(request.param)


@pytest.fixture(scope="module")
def backend(cpu_settings: Any) -> LocalBackend:
    return LocalBackend(cpu_settings)


@pytest.fixture(scope="module")
def meta_predictor(
    version: str, random_checkpoint: Any, cpu_settings: Any, photo: np.ndarray
) -> Any:
    """Meta's predictor on the same weights, built by Meta's own builder where it knows them."""
    from sam2.build_sam import build_sam2
    from sam2.sam2_image_predictor import SAM2ImagePredictor

    if version == "demo":
        model = _built_by_hand(find_checkpoint("demo", cpu_settings))
    else:
        checkpoint = str(random_checkpoint(version))
        model = build_sam2(META_RELEASES[version].config_file, checkpoint, device="cpu")
    predictor = SAM2ImagePredictor(model)
    stride = model.image_size // 4  # the predictor has the sizes of 1024 pixels built in
    predictor._bb_feat_sizes = [(stride // n, stride // n) for n in (1, 2, 4)]
    predictor.set_image(np.ascontiguousarray(photo[..., ::-1]))
    return predictor


def _built_by_hand(path: Any) -> Any:
    with safe_open(path, framework="pt") as file:
        model = build_model(json.loads(file.metadata()["config"]))
    model.load_state_dict({name: tensor.float() for name, tensor in load_file(path).items()})
    return model.eval()


@pytest.mark.parametrize("multimask_output", [True, False])
def test_masks_and_scores_are_those_of_metas_predictor(
    backend: LocalBackend,
    meta_predictor: Any,
    version: str,
    photo: np.ndarray,
    multimask_output: bool,
) -> None:
    answers = backend.predict(photo, PROMPTS, version=version, multimask_output=multimask_output)
    for prompt, answer in zip(PROMPTS, answers, strict=True):
        masks, scores, _ = meta_predictor.predict(
            point_coords=np.array([[p.x, p.y] for p in prompt.points]) if prompt.points else None,
            point_labels=np.array([int(p.positive) for p in prompt.points]),
            box=None if prompt.box_xyxy is None else np.array(prompt.box_xyxy),
            multimask_output=multimask_output,
        )
        expected = masks[scores.argmax()] > 0
        ours = np.zeros(photo.shape[:2], dtype=bool)
        answer.mask().paste_into(ours)
        assert abs(answer.score - scores.max()) <= 1e-4, prompt
        union = (ours | expected).sum()
        assert union == 0 or (ours & expected).sum() / union >= 0.995, prompt


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
