"""The lean decoder against Meta's own, logit for logit."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch

from sam2_block.backends.local.checkpoints import fetch_checkpoint
from sam2_block.backends.local.lean_decoder import LeanDecoder
from sam2_block.backends.local.model import build_model, load_model, meta_config
from sam2_block.settings import Settings

PROMPTS = {
    "boxes": torch.tensor([[2, 3]] * 3),
    "points": torch.tensor([[1], [1]]),
    "box and points": torch.tensor([[2, 3, 1, 0]]),
    "many points": torch.tensor([[1, 0] * 30] * 2),
}


@functools.cache
def model_of(version: str) -> Any:
    if version == "demo":
        settings = Settings()
        return load_model(version, fetch_checkpoint(version, settings), torch.device("cpu"))
    torch.manual_seed(0)
    return build_model(meta_config(version)).eval()


@torch.inference_mode()
def compare(model: Any, labels: torch.Tensor, multimask: bool) -> None:
    torch.manual_seed(1)
    side, channels = model.sam_image_embedding_size, model.hidden_dim
    embedding = torch.randn(1, channels, side, side)
    high_res = (
        torch.randn(1, channels // 8, 4 * side, 4 * side),
        torch.randn(1, channels // 4, 2 * side, 2 * side),
    )
    coordinates = torch.rand(*labels.shape, 2) * model.image_size
    sparse, dense = model.sam_prompt_encoder((coordinates, labels), None, None)
    positions = model.sam_prompt_encoder.get_dense_pe()
    masks, scores, _, _ = model.sam_mask_decoder(
        image_embeddings=embedding,
        image_pe=positions,
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        multimask_output=multimask,
        repeat_image=True,
        high_res_features=list(high_res),
    )
    rows, best = torch.arange(len(scores)), scores.argmax(1)
    lean = LeanDecoder(model)
    shared = lean.image_side(embedding, high_res, positions, dense[:1])
    logits, quality = lean.decode(shared, sparse, (side, side), multimask)
    torch.testing.assert_close(logits, masks[rows, best], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(quality, scores[rows, best], rtol=0, atol=1e-5)


@pytest.mark.parametrize("multimask", [True, False])
@pytest.mark.parametrize("labels", PROMPTS.values(), ids=PROMPTS)
@pytest.mark.parametrize("version", ["demo", "hiera_tiny", "sam2.1_hiera_tiny"])
def test_logits_and_scores_are_metas(version: str, labels: torch.Tensor, multimask: bool) -> None:
    compare(model_of(version), labels, multimask)


@pytest.mark.parametrize("threshold", [0.0, 0.7, 2.0], ids=["stable", "some", "unstable"])
def test_unstable_single_masks_give_way_as_metas_do(
    threshold: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of("sam2.1_hiera_tiny")
    assert model.sam_mask_decoder.dynamic_multimask_via_stability
    monkeypatch.setattr(model.sam_mask_decoder, "dynamic_multimask_stability_thresh", threshold)
    compare(model, PROMPTS["boxes"].repeat(3, 1), multimask=False)
