"""What the network for GPUs computes where, and what crosses the bus, on a machine without a GPU.

PyTorch's fake tensors have a device, a type and a shape, and no values: every operation is checked
for operands on two devices, and autocast chooses types as it does for CUDA. `tests/gpu` computes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from sam2_block.backends.local import prompt_decoding
from sam2_block.backends.local.image_encoding import preprocess
from sam2_block.backends.local.models.model_loading import build_model, meta_config
from sam2_block.compute.compute_target import ComputeTarget
from sam2_block.prompts import LabeledPoint, Prompt
from sam2_block.sam2.candidates import Choice, select
from sam2_block.sam2.network import make_network
from sam2_block.sam2.sam2_modules import Sam2Modules
from tests.local.crossings import Crossings

GPU = torch.device("cuda", 1)  # not the current one
HEIGHT, WIDTH = 3000, 4000
BOXES = [Prompt(box_xyxy=(10.0, 10, 60 + n, 60), points=(LabeledPoint(20, 20),)) for n in range(5)]
MASK_BYTES = 256 * 256 * 4  # the decoder's grid


class Stream:
    """Stands in for a stream, and counts how often it is waited for."""

    def __init__(self) -> None:
        self.waits = 0

    def synchronize(self) -> None:
        self.waits += 1


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> Stream:
    stream = Stream()
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: stream)
    return stream


@pytest.fixture
def fake_gpu(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let tensors be on a GPU, and autocast work there."""
    monkeypatch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    # Fake tensors refuse to become an array; here they end as the tensors that they are.
    monkeypatch.setattr(torch.Tensor, "numpy", lambda tensor: tensor)
    with FakeTensorMode(allow_non_fake_inputs=True), torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def model() -> Any:
    return build_model(meta_config("hiera_tiny")).eval()


def network_on_gpu(model: Any, precision: str) -> Sam2Modules:
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                fake = torch.empty(parameter.shape, device=GPU)
                module._parameters[name] = torch.nn.Parameter(fake, False)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = torch.empty(buffer.shape, device=GPU)
    network = make_network(model, ComputeTarget(GPU, precision))
    assert isinstance(network, Sam2Modules)
    return network


@pytest.mark.parametrize(("choice", "count"), [("best", 1), ("all", 3)])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.usefixtures("fake_gpu")
def test_all_is_computed_on_the_gpu_and_small_masks_come_back(
    precision: str, choice: Choice, count: int, model: Any
) -> None:
    network = network_on_gpu(model, precision)
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    with Crossings() as crossings:
        embedding = network.condition(network.encode(preprocess(image, network.image_size, GPU)))
        prompts = prompt_decoding._prompt_batch(BOXES, (HEIGHT, WIDTH), network.image_size, GPU)
        taken = select(network.decode(embedding, prompts), choice, network.stability)
        logits, scores = taken.logits.cpu(), taken.scores.cpu()
    tensors = (embedding.image, *embedding.high_res, prompts.coordinates, prompts.labels)
    assert {tensor.device for tensor in tensors} == {GPU}
    # The finer features are left as autocast computes them: that the precision is at work.
    assert embedding.high_res[0].dtype is network._compute.dtype
    assert (logits.shape, logits.dtype) == ((len(BOXES), count, 256, 256), torch.float32)
    assert (scores.shape, scores.dtype) == ((len(BOXES), count), torch.float32)

    down = crossings.between("cuda", "cpu")
    assert [one.nbytes for one in down] == [count * len(BOXES) * MASK_BYTES, count * len(BOXES) * 4]


@pytest.mark.parametrize("shape", [(HEIGHT, WIDTH, 3), (HEIGHT, WIDTH)])
@pytest.mark.usefixtures("fake_gpu")
def test_an_image_goes_to_the_gpu_in_bytes(shape: tuple[int, ...]) -> None:
    with Crossings() as crossings:
        pixels = preprocess(np.zeros(shape, np.uint8), 1024, GPU)
    assert pixels.device == GPU
    large = [one for one in crossings.between("cpu", "cuda") if one.nbytes > 100]
    assert {one.dtype for one in large} == {torch.uint8}
    assert sum(one.nbytes for one in large) == np.prod(shape)
    assert crossings.between("cuda", "cpu") == []


@pytest.mark.usefixtures("fake_gpu")
def test_a_network_is_complete_before_other_threads_have_it(model: Any, stream: Stream) -> None:
    network_on_gpu(model, "fp32")
    assert stream.waits == 1
