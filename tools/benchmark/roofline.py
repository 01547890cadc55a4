"""How near encoder and decoder come to what the machine's matrix products allow.

The floor is the time that the products alone take at the fastest rate seen here: operations of
Meta's modules, counted by PyTorch, over operations a second of large products.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmark.pictures import make_boxes, make_image
from sam2_block.backends.local.devices import choose_compute
from sam2_block.backends.local.local_backend import LocalBackend
from sam2_block.backends.local.models.model_loading import build_model, meta_config
from sam2_block.prompts import Prompt
from sam2_block.sam2.cpu.linear import product
from sam2_block.settings import LocalSettings, Settings

_VERSION = "hiera_tiny"
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
# (rows, inner, columns): square ones, and those of Hiera's MLPs.
_SHAPES = ((1024, 1024, 1024), (2048, 2048, 2048), (4096, 384, 1536), (16384, 192, 768))
_WIDTH, _HEIGHT, _PROMPTS, _REPEATS = 1800, 1200, 32, 7


def measure() -> dict[str, Any]:
    """Return the machine's rates, the work, and what ours took, in seconds: medians of turns."""
    settings = Settings.from_environment().local
    # What follows the encoder's trunk computes in single precision, whatever is chosen.
    precisions = {"encoder": choose_compute(settings).precision, "decoder": "fp32"}
    work = {name: float(count()) for name, count in _WORK.items()}
    turns = list(_turns(settings))
    rates = {name: statistics.median(turn.rates[name] for turn in turns) for name in _DTYPES}
    figures: dict[str, Any] = {"flops_per_s": rates}
    for part, flops in work.items():
        precision = precisions[part]
        pairs = [turn.seconds[part] * turn.rates[precision] / flops for turn in turns]
        figures[part] = {
            "precision": precision,
            "flops": flops,
            "floor_s": flops / rates[precision],
            "seconds": statistics.median(turn.seconds[part] for turn in turns),
            "times_floor": statistics.median(pairs),
        }
    return figures


@dataclass(frozen=True)
class _Turn:
    """Rates by precision, and right after them the seconds of each part."""

    rates: dict[str, float]
    seconds: dict[str, float]


@torch.inference_mode()
def best_rate(dtype: torch.dtype) -> float:
    """Return operations a second of the fastest matrix product tried, by whichever library."""
    best = 0.0
    for rows, inner, columns in _SHAPES:
        a, b = torch.randn(rows, inner).to(dtype), torch.randn(columns, inner).to(dtype)
        for multiply in (torch.nn.functional.linear, product):
            until = time.perf_counter() + 0.1
            while time.perf_counter() < until:
                start = time.perf_counter()
                multiply(a, b)
                best = max(best, 2 * rows * inner * columns / (time.perf_counter() - start))
    return best


@torch.inference_mode()
def _encoder_flops() -> int:
    model = build_model(meta_config(_VERSION)).eval()
    pixels = torch.zeros(1, 3, model.image_size, model.image_size)
    return _count(lambda: model.forward_image(pixels))


@torch.inference_mode()
def _decoder_flops() -> int:
    model = build_model(meta_config(_VERSION)).eval()
    cells, channels = model.image_size // 16, model.hidden_dim
    corners = torch.tensor([[[100.0, 100.0], [200.0, 200.0]]])
    labels = torch.tensor([[2, 3]])

    def decode() -> Any:
        sparse, dense = model.sam_prompt_encoder(points=(corners, labels), boxes=None, masks=None)
        return model.sam_mask_decoder(
            image_embeddings=torch.zeros(1, channels, cells, cells),
            image_pe=model.sam_prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=True,
            repeat_image=True,
            high_res_features=[
                torch.zeros(1, channels // 8, 4 * cells, 4 * cells),
                torch.zeros(1, channels // 4, 2 * cells, 2 * cells),
            ],
        )

    return _count(decode)


_WORK: dict[str, Callable[[], int]] = {"encoder": _encoder_flops, "decoder": _decoder_flops}


def _count(call: Callable[[], Any]) -> int:
    # Attention as plain products: the counter does not know every fused kernel.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        call()
    return int(counter.get_total_flops())


def _turns(settings: LocalSettings) -> Iterator[_Turn]:
    """Take turns: the machine's speed drifts, and what is compared is measured together.

    The encoder's seconds are an image's, resizing included, the decoder's those of a prompt.
    """
    backend = LocalBackend(settings)
    boxes = make_boxes([7], _PROMPTS, _WIDTH, _HEIGHT).tolist()
    prompts = [Prompt(box_xyxy=(box[0], box[1], box[2], box[3])) for box in boxes]
    for turn in range(_REPEATS + 1):
        image = make_image([7, turn], _WIDTH, _HEIGHT)
        rates = {name: best_rate(dtype) for name, dtype in _DTYPES.items()}
        start = time.perf_counter()
        backend.embed(image, version=_VERSION)
        encoded = time.perf_counter()
        backend.predict(image, prompts, version=_VERSION, multimask_output=True)
        decoded = time.perf_counter()
        if turn:  # the first warms up
            yield _Turn(
                rates, {"encoder": encoded - start, "decoder": (decoded - encoded) / _PROMPTS}
            )
