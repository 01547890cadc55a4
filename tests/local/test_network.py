"""All that fits through the seam `Network`, on both networks, against Meta's own predictor.

That prompts of different lengths go together is in `test_parity.py` and `test_sam2_modules.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sam2_block.backends.local.image_encoding import preprocess
from sam2_block.backends.local.models.model_loading import load_model
from sam2_block.backends.local.prompt_decoding import _prompt_batch
from sam2_block.compute.compute_target import ComputeTarget
from sam2_block.prompts import LabeledPoint, Prompt
from sam2_block.sam2.candidates import Choice, Selected, select
from sam2_block.sam2.cpu.cpu_network import CpuNetwork
from sam2_block.sam2.network import Memory, Network, PromptBatch
from sam2_block.sam2.sam2_modules import Sam2Modules
from tests.local.metas_predictor import arguments_of, metas_predictor

CPU = torch.device("cpu")
BOX = Prompt(box_xyxy=(81.0, 39.0, 116.0, 74.0))
PROMPTS = {
    "box": BOX,
    "point": Prompt(points=(LabeledPoint(150, 50),)),
    "box and points": Prompt(
        box_xyxy=(193.0, 29.0, 238.0, 74.0),
        points=(LabeledPoint(215, 50), LabeledPoint(190, 20, False)),
    ),
}
# Meta's predictor returns low-resolution logits within these.
CLAMP = 32.0

pytestmark = pytest.mark.usefixtures("inference_mode")


@pytest.fixture
def inference_mode() -> Any:
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module", params=["demo", "sam2.1_hiera_tiny"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def checkpoint(version: str, checkpoint_of: Callable[[str], Path]) -> Path:
    return checkpoint_of(version)


@pytest.fixture(scope="module")
def predictor(version: str, checkpoint: Path, coins: np.ndarray) -> Any:
    return metas_predictor(version, checkpoint, coins, "cpu")


@pytest.fixture(scope="module", params=[CpuNetwork, Sam2Modules])
def network(request: pytest.FixtureRequest, version: str, checkpoint: Path) -> Network:
    with torch.inference_mode():
        network: Network = request.param(
            load_model(version, checkpoint, CPU), ComputeTarget(CPU, "fp32")
        )
        return network


@pytest.fixture(scope="module")
def features(network: Network, coins: np.ndarray) -> Any:
    with torch.inference_mode():
        return network.encode(preprocess(coins, network.image_size, CPU))


@pytest.fixture(scope="module")
def embedding(network: Network, features: Any) -> Any:
    with torch.inference_mode():
        return network.condition(features)


def batch(network: Network, image: np.ndarray, prompt: Prompt) -> PromptBatch:
    return _prompt_batch([prompt], image.shape[:2], network.image_size, CPU)


def take(network: Network, embedding: Any, prompts: PromptBatch, choice: Choice) -> Selected:
    return select(network.decode(embedding, prompts), choice, network.stability)


def metas(predictor: Any, prompt: Prompt | None, multimask: bool, mask: Any = None) -> Selected:
    """Return the low-resolution logits and the scores of Meta's predictor."""
    _, scores, logits = predictor.predict(
        **arguments_of(prompt), mask_input=mask, multimask_output=multimask
    )
    return Selected(torch.from_numpy(logits)[None], torch.from_numpy(scores)[None])


def assert_same(ours: Selected, theirs: Selected) -> None:
    logits = ours.logits.clamp(-CLAMP, CLAMP)
    torch.testing.assert_close(logits, theirs.logits, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(ours.scores, theirs.scores, rtol=0, atol=1e-4)


@pytest.mark.parametrize(("choice", "multimask"), [("all", True), ("stable", False)])
@pytest.mark.parametrize("prompt", PROMPTS.values(), ids=PROMPTS)
def test_candidates_are_those_of_metas_predictor(
    prompt: Prompt,
    choice: Choice,
    multimask: bool,
    network: Network,
    embedding: Any,
    predictor: Any,
    coins: np.ndarray,
) -> None:
    taken = take(network, embedding, batch(network, coins, prompt), choice)
    assert_same(taken, metas(predictor, prompt, multimask))


def test_the_best_is_one_of_all(network: Network, embedding: Any, coins: np.ndarray) -> None:
    prompts = batch(network, coins, BOX)
    best, everything = (take(network, embedding, prompts, c) for c in ("best", "all"))
    index = int(everything.scores.argmax())
    assert best.scores.shape == (1, 1)
    torch.testing.assert_close(best.scores[0, 0], everything.scores[0, index])
    torch.testing.assert_close(best.logits[0, 0], everything.logits[0, index])


@pytest.mark.parametrize("prompt", [None, *PROMPTS.values()], ids=["mask alone", *PROMPTS])
def test_a_mask_is_refined_as_by_metas_predictor(
    prompt: Prompt | None,
    network: Network,
    embedding: Any,
    predictor: Any,
    coins: np.ndarray,
) -> None:
    first = metas(predictor, BOX, True).logits[:, 0]
    prompts = batch(network, coins, prompt or BOX)
    if prompt is None:
        prompts = PromptBatch(prompts.coordinates[:, :0], prompts.labels[:, :0])
    prompts = PromptBatch(prompts.coordinates, prompts.labels, first)
    refined = take(network, embedding, prompts, "all")
    assert_same(refined, metas(predictor, prompt, True, first.numpy()))


def test_masks_of_several_prompts_stay_apart(
    network: Network, embedding: Any, coins: np.ndarray
) -> None:
    one, other = (batch(network, coins, Prompt(points=(LabeledPoint(x, 50),))) for x in (95, 215))
    masks = [take(network, embedding, prompt, "best").logits[:, 0] for prompt in (one, other)]
    together = PromptBatch(
        torch.cat([one.coordinates, other.coordinates]),
        torch.cat([one.labels, other.labels]),
        torch.cat(masks),
    )
    refined = take(network, embedding, together, "all")
    for row in range(2):
        alone = take(network, embedding, together[row : row + 1], "all")
        torch.testing.assert_close(refined.logits[row], alone.logits[0], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(refined.scores[row], alone.scores[0], rtol=0, atol=1e-5)


def test_an_image_attends_to_a_memory_as_in_metas_model(
    network: Network, features: Any, embedding: Any, predictor: Any, coins: np.ndarray
) -> None:
    memory, conditioned = metas_memory(predictor.model, preprocess(coins, network.image_size, CPU))
    prompts = batch(network, coins, BOX)
    ours = take(network, network.condition(features, memory), prompts, "all")

    known = dict(predictor._features)
    try:
        predictor._features["image_embed"] = conditioned
        assert_same(ours, metas(predictor, BOX, True))
    finally:
        predictor._features.update(known)
    # What was given stays as it was.
    alone = take(network, network.condition(features), prompts, "all")
    torch.testing.assert_close(alone.logits, take(network, embedding, prompts, "all").logits)
    assert not torch.allclose(alone.scores, ours.scores, atol=1e-4)


def metas_memory(model: Any, pixels: torch.Tensor) -> tuple[Memory, torch.Tensor]:
    """Let Meta's model remember a square mask on an image, and look at the image again.

    Returns:
        What it attended to, and the features `(1, C, h, w)` that came of it.
    """
    _, features, positions, sizes = model._prepare_backbone_features(model.forward_image(pixels))
    mask = torch.full((1, 1, model.image_size, model.image_size), -10.0)
    mask[..., : model.image_size // 2, : model.image_size // 3] = 10.0
    remembered, positions_of_it = model._encode_new_memory(
        current_vision_feats=features,
        feat_sizes=sizes,
        pred_masks_high_res=mask,
        object_score_logits=torch.full((1, 1), 10.0),
        is_mask_from_pts=True,
    )
    frame = {
        "maskmem_features": remembered,
        "maskmem_pos_enc": positions_of_it,
        "obj_ptr": torch.linspace(-1, 1, model.hidden_dim)[None],
    }
    seen: dict[str, Any] = {}

    def note(_: Any, __: Any, given: dict[str, Any]) -> None:
        seen.update(given)

    hook = model.memory_attention.register_forward_pre_hook(note, with_kwargs=True)
    try:
        conditioned = model._prepare_memory_conditioned_features(
            frame_idx=1,
            is_init_cond_frame=False,
            current_vision_feats=features[-1:],
            current_vision_pos_embeds=positions[-1:],
            feat_sizes=sizes[-1:],
            output_dict={"cond_frame_outputs": {0: frame}, "non_cond_frame_outputs": {}},
            num_frames=2,
        )
    finally:
        hook.remove()
    memory = Memory(seen["memory"], seen["memory_pos"], seen["num_obj_ptr_tokens"])
    return memory, conditioned
