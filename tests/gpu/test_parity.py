"""On a GPU, in every precision, masks and scores are those of Meta's predictor."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sam2_block.backends.local.local_backend import LocalBackend
from sam2_block.backends.local.models.checkpoints import find_checkpoint
from sam2_block.backends.local.upsample import LowResMask
from sam2_block.settings import LocalSettings
from sam2_block.versions import DEMO
from tests.gpu.cuda import NEEDS_CUDA, make_backend
from tests.local.metas_predictor import (
    HALF_MEAN_IOU,
    HALF_TIE,
    autocast,
    check,
    compare,
    iou,
    metas_predictor,
    pixels_of,
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
    path = random_checkpoint(version) if version != DEMO else find_checkpoint(DEMO, LocalSettings())
    assert path is not None
    return Path(path)


@pytest.fixture
def predict(version: str, checkpoint: Path, photo: np.ndarray) -> Callable[..., list[LowResMask]]:
    """Return a function that decodes all prompts by a backend that has the checkpoint."""

    def run(multimask_output: bool, backend: LocalBackend) -> list[LowResMask]:
        return backend.predict(photo, PROMPTS, version=version, multimask_output=multimask_output)

    return run


@pytest.mark.parametrize("multimask_output", [True, False])
def test_single_precision(
    version: str,
    checkpoint: Path,
    checkpoint_dir: Path,
    photo: np.ndarray,
    multimask_output: bool,
    predict: Any,
) -> None:
    answers = predict(multimask_output, make_backend(checkpoint_dir, "fp32"))
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
    predict: Any,
) -> None:
    answers = predict(True, make_backend(checkpoint_dir, precision))
    with autocast("cuda", precision if reference == "same" else reference):
        predictor = metas_predictor(version, checkpoint, photo, "cuda")
        agreements = compare(answers, predictor, PROMPTS, multimask_output=True, tie=HALF_TIE)
    check(agreements, mean_iou=HALF_MEAN_IOU[reference], worst_iou=0.95, score=0.02)


@pytest.mark.parametrize("multimask_output", [True, False])
def test_the_cpu_gives_the_same(
    checkpoint_dir: Path, photo: np.ndarray, multimask_output: bool, predict: Any
) -> None:
    on_cpu = LocalBackend(
        LocalSettings(device="cpu", precision="fp32", checkpoint_dir=checkpoint_dir)
    )
    answers = predict(multimask_output, make_backend(checkpoint_dir, "fp32"))
    expected = predict(multimask_output, on_cpu)
    for one, other in zip(answers, expected, strict=True):
        assert one.score == pytest.approx(other.score, abs=1e-3)
        assert iou(pixels_of(one), pixels_of(other)) >= 0.99
