"""The CPU's networks against Meta's own modules, number for number."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch

from sam2_block.backends.local.models.checkpoints import fetch_checkpoint
from sam2_block.backends.local.models.model_loading import build_model, load_model, meta_config
from sam2_block.sam2.candidates import Stability, select
from sam2_block.sam2.cpu import linear, transformer
from sam2_block.sam2.cpu.decoder import Decoder
from sam2_block.sam2.cpu.neck import Features, Neck
from sam2_block.sam2.cpu.trunk import Trunk
from sam2_block.settings import LocalSettings

PROMPTS = {
    "boxes": torch.tensor([[2, 3]] * 3),
    "points": torch.tensor([[1], [1]]),
    "box and points": torch.tensor([[2, 3, 1, 0]]),
    "many points": torch.tensor([[1, 0] * 30] * 2),
}


@functools.cache
def model_of(version: str) -> Any:
    if version == "demo":
        settings = LocalSettings()
        return load_model(version, fetch_checkpoint(version, settings), torch.device("cpu"))
    torch.manual_seed(0)
    return build_model(meta_config(version)).eval().requires_grad_(False)


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
    decoder = Decoder(model)
    fine, coarse = high_res
    rows_of = [x[0].permute(1, 2, 0) for x in (embedding, coarse, fine)]
    candidates = decoder.decode(decoder.cached_image(Features(*rows_of)), sparse)
    stability = Stability.of(model.sam_mask_decoder)
    taken = select(candidates, "best" if multimask else "stable", stability)
    torch.testing.assert_close(taken.logits[:, 0], masks[rows, best], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(taken.scores[:, 0], scores[rows, best], rtol=0, atol=1e-5)


@pytest.mark.parametrize("multimask", [True, False])
@pytest.mark.parametrize("labels", PROMPTS.values(), ids=PROMPTS)
@pytest.mark.parametrize("version", ["demo", "hiera_tiny", "sam2.1_hiera_tiny"])
def test_logits_and_scores_are_metas(version: str, labels: torch.Tensor, multimask: bool) -> None:
    compare(model_of(version), labels, multimask)


@pytest.mark.parametrize(
    ("tokens", "size"), [(1, 3), (2, 3), (100, 3), (130, 2), (200, 1), (10**6, 1)]
)
def test_prompts_of_many_tokens_are_decoded_in_small_batches(tokens: int, size: int) -> None:
    assert Decoder(model_of("hiera_tiny")).batch_size(tokens) == size


@torch.inference_mode()
def test_many_tokens_sweep_over_fewer_pixels_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on many cores, where the logits of all pixels would stand in memory at once."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    apply, largest = transformer._ImageToTokenAttention.apply, []

    def watched(attention: Any, row: int, pixels: torch.Tensor, queries: torch.Tensor) -> Any:
        largest.append(attention.keys.shape[1] * len(pixels))
        return apply(attention, row, pixels, queries)

    monkeypatch.setattr(transformer._ImageToTokenAttention, "apply", watched)
    compare(model_of("demo"), torch.tensor([[1, 0] * 500]), multimask=True)
    assert max(largest) <= transformer._MAX_LOGITS


@pytest.mark.parametrize("threshold", [0.0, 0.7, 2.0], ids=["stable", "some", "unstable"])
def test_unstable_single_masks_give_way_as_metas_do(
    threshold: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of("sam2.1_hiera_tiny")
    assert model.sam_mask_decoder.dynamic_multimask_via_stability
    monkeypatch.setattr(model.sam_mask_decoder, "dynamic_multimask_stability_thresh", threshold)
    compare(model, PROMPTS["boxes"].repeat(3, 1), multimask=False)


@torch.inference_mode()
def encode_both(
    version: str, side: int, dtype: torch.dtype
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return each feature map by the CPU's network and by Meta's modules, `(h, w, C)`."""
    model = model_of(version)
    pixels = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(2))
    maps = model.forward_image(pixels)["backbone_fpn"][-model.num_feature_levels :]
    expected = [x[0].permute(1, 2, 0) for x in (maps[-1], maps[1], maps[0])]
    trunk = Trunk(model.image_encoder.trunk, side, dtype)
    return list(zip(Neck(model)(trunk(pixels)), expected, strict=True))


# Sides at which windows do and do not fill the maps, and at which blocks have several strips.
@pytest.mark.parametrize(
    ("version", "side"),
    [
        ("demo", 576),
        ("demo", 96),
        ("hiera_tiny", 1024),
        ("hiera_tiny", 256),
        ("sam2.1_hiera_tiny", 256),
        ("hiera_small", 256),
        ("hiera_b_plus", 256),
        ("hiera_large", 256),
    ],
)
def test_features_are_metas(version: str, side: int) -> None:
    for found, expected in encode_both(version, side, torch.float32):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("version", ["demo", "hiera_tiny"])
def test_half_precision_of_the_trunk_changes_features_little(version: str) -> None:
    for found, expected in encode_both(version, 576, torch.bfloat16):
        assert found.dtype is torch.float32
        error = (found - expected).norm() / expected.norm()
        assert 1e-4 < error < 0.02  # the products are in half precision, the sums are not


@pytest.mark.parametrize("threads", [1, 3])
def test_features_do_not_depend_on_the_number_of_threads(threads: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for found, expected in encode_both("demo", 576, torch.float32):
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
        compare(model_of("demo"), PROMPTS["boxes"], multimask=True)
    finally:
        torch.set_num_threads(before)


def test_a_processor_without_one_dnn_multiplies_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(*_: Any) -> None:
        raise RuntimeError("not compiled with oneDNN")

    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", missing)
    chosen = linear._choose_product()
    assert chosen is torch.nn.functional.linear
    monkeypatch.setattr(linear, "_PRODUCT", chosen)
    for found, expected in encode_both("demo", 96, torch.float32):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    compare(model_of("demo"), PROMPTS["boxes"], multimask=True)
