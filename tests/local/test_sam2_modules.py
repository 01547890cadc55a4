"""The network for GPUs, on the CPU: Meta's modules give what the CPU's own network gives."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from sam2_block.backends.local.image_encoding import encode
from sam2_block.backends.local.models.checkpoints import fetch_checkpoint
from sam2_block.backends.local.models.model_loading import load_model
from sam2_block.backends.local.prompt_decoding import decode
from sam2_block.backends.local.upsample import LowResMask
from sam2_block.compute.compute_target import ComputeTarget
from sam2_block.prompts import LabeledPoint, Prompt
from sam2_block.sam2.cpu.cpu_network import CpuNetwork
from sam2_block.sam2.sam2_modules import Sam2Modules
from sam2_block.settings import LocalSettings
from tests.local.metas_predictor import (
    HALF_MEAN_IOU,
    HALF_TIE,
    autocast,
    check,
    compare,
    metas_predictor,
)

CPU = torch.device("cpu")
PROMPTS = [
    Prompt(box_xyxy=(81, 39, 116, 74)),
    Prompt(points=(LabeledPoint(150, 50),)),
    Prompt(
        box_xyxy=(193, 29, 238, 74), points=(LabeledPoint(215, 50), LabeledPoint(190, 20, False))
    ),
    Prompt(box_xyxy=(258, 33, 297, 72)),
]


def answers(
    kind: type[CpuNetwork] | type[Sam2Modules], precision: str, image: np.ndarray, multimask: bool
) -> list[LowResMask]:
    compute = ComputeTarget(CPU, precision)
    network = kind(load_model("demo", fetch_checkpoint("demo", LocalSettings()), CPU), compute)
    return decode(
        network,
        compute,
        encode(network, compute, image),
        PROMPTS,
        (image.shape[0], image.shape[1]),
        multimask_output=multimask,
    )


@pytest.mark.parametrize("multimask", [True, False])
def test_both_networks_give_the_same_masks(coins: np.ndarray, multimask: bool) -> None:
    found = answers(Sam2Modules, "fp32", coins, multimask)
    expected = answers(CpuNetwork, "fp32", coins, multimask)
    for one, other in zip(found, expected, strict=True):
        assert (one.x, one.y, one.image_hw) == (other.x, other.y, other.image_hw)
        assert one.score == pytest.approx(other.score, abs=1e-5)
        np.testing.assert_allclose(one.logits, other.logits, rtol=1e-3, atol=1e-3)


def test_half_precision_of_metas_modules_gives_nearly_the_same_masks(coins: np.ndarray) -> None:
    found = answers(Sam2Modules, "bf16", coins, True)
    expected = answers(Sam2Modules, "fp32", coins, True)
    assert any(one.score != other.score for one, other in zip(found, expected, strict=True))
    for one, other in zip(found, expected, strict=True):
        assert one.score == pytest.approx(other.score, abs=0.05)
        assert one.logits.dtype == np.float32
        assert one.mask().crop.sum() == pytest.approx(other.mask().crop.sum(), rel=0.1)


@pytest.fixture(scope="module")
def metas_in(coins: np.ndarray) -> Callable[[str], Any]:
    """Return a function that makes Meta's predictor in a precision."""

    @functools.cache
    def make(precision: str) -> Any:
        with autocast("cpu", precision):
            return metas_predictor("demo", fetch_checkpoint("demo", LocalSettings()), coins, "cpu")

    return make


@pytest.mark.parametrize("multimask", [True, False])
def test_in_single_precision_it_gives_what_metas_predictor_gives(
    coins: np.ndarray, multimask: bool, metas_in: Any
) -> None:
    agreements = compare(
        answers(Sam2Modules, "fp32", coins, multimask),
        metas_in("fp32"),
        PROMPTS,
        multimask_output=multimask,
    )
    check(agreements, mean_iou=0.999, worst_iou=0.995, score=1e-4)


@pytest.mark.parametrize("reference", ["fp32", "same"])
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_in_half_precision_it_gives_what_metas_predictor_gives(
    coins: np.ndarray, precision: str, reference: str, metas_in: Any
) -> None:
    metas_precision = precision if reference == "same" else reference
    with autocast("cpu", metas_precision):
        agreements = compare(
            answers(Sam2Modules, precision, coins, True),
            metas_in(metas_precision),
            PROMPTS,
            multimask_output=True,
            tie=HALF_TIE,
        )
    check(agreements, mean_iou=HALF_MEAN_IOU[reference], worst_iou=0.95, score=0.02)


def test_a_batch_is_smaller_where_prompts_have_more_tokens() -> None:
    model = load_model("demo", fetch_checkpoint("demo", LocalSettings()), CPU)
    network = Sam2Modules(model, ComputeTarget(CPU, "fp32"))
    assert network.batch_size(2) > network.batch_size(100) >= 1
    assert network.batch_size(10**9) == 1


def test_the_embedding_knows_its_bytes(coins: np.ndarray) -> None:
    compute = ComputeTarget(CPU, "fp32")
    model = load_model("demo", fetch_checkpoint("demo", LocalSettings()), CPU)
    embedding = encode(Sam2Modules(model, compute), compute, coins)
    side, channels = 36, 128
    assert embedding.nbytes == 4 * side * side * channels * (1 + 2 + 1)
