"""On a GPU, in every precision, masks and scores are those of Meta's predictor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sam2_block.backends.local.backend import LocalBackend
from sam2_block.backends.local.checkpoints import find_checkpoint
from sam2_block.settings import Settings
from sam2_block.versions import DEMO
from tests.gpu.cuda import NEEDS_CUDA, make_backend
from tests.local.metas_predictor import (
    HALF_MEAN_IOU,
    HALF_TIE,
    autocast,
    check,
    compare,
    metas_predictor,
)
from tests.local.test_parity import PROMPTS

pytestmark = NEEDS_CUDA


@pytest.fixture(scope="module")
def photo(astronaut: np.ndarray) -> np.ndarray:
    return astronaut[:400]  # not square, so that swapped axes show


@pytest.fixture(scope="module", params=[DEMO, "hiera_tiny"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def checkpoint(version: str, random_checkpoint: Any) -> Path:
    path = random_checkpoint(version) if version != DEMO else find_checkpoint(DEMO, Settings())
    assert path is not None
    return Path(path)


@pytest.mark.parametrize("multimask_output", [True, False])
def test_single_precision(
    version: str,
    checkpoint: Path,
    checkpoint_dir: Path,
    photo: np.ndarray,
    multimask_output: bool,
) -> None:
    backend = make_backend(checkpoint_dir, "fp32")
    answers = backend.predict(photo, PROMPTS, version=version, multimask_output=multimask_output)
    predictor = metas_predictor(version, checkpoint, photo, "cuda")
    agreements = compare(answers, predictor, PROMPTS, multimask_output=multimask_output)
    check(agreements, mean_iou=0.999, worst_iou=0.995, score=1e-4)


@pytest.mark.parametrize("reference", ["fp32", "same"])
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision(
    version: str,
    checkpoint: Path,
    checkpoint_dir: Path,
    photo: np.ndarray,
    precision: str,
    reference: str,
) -> None:
    backend = make_backend(checkpoint_dir, precision)
    answers = backend.predict(photo, PROMPTS, version=version, multimask_output=True)
    with autocast("cuda", precision if reference == "same" else reference):
        predictor = metas_predictor(version, checkpoint, photo, "cuda")
        agreements = compare(answers, predictor, PROMPTS, multimask_output=True, tie=HALF_TIE)
    check(agreements, mean_iou=HALF_MEAN_IOU[reference], worst_iou=0.95, score=0.02)


@pytest.mark.parametrize("multimask_output", [True, False])
def test_the_cpu_gives_the_same(
    version: str,
    checkpoint: Path,
    checkpoint_dir: Path,
    photo: np.ndarray,
    multimask_output: bool,
) -> None:
    backend = make_backend(checkpoint_dir, "fp32")
    answers = backend.predict(photo, PROMPTS, version=version, multimask_output=multimask_output)
    on_cpu = LocalBackend(Settings(device="cpu", precision="fp32", checkpoint_dir=checkpoint_dir))
    expected = on_cpu.predict(photo, PROMPTS, version=version, multimask_output=multimask_output)
    for one, other in zip(answers, expected, strict=True):
        ours, theirs = (np.zeros(photo.shape[:2], dtype=bool) for _ in range(2))
        one.mask().paste_into(ours)
        other.mask().paste_into(theirs)
        assert one.score == pytest.approx(other.score, abs=1e-3)
        assert (ours & theirs).sum() >= 0.99 * (ours | theirs).sum()
