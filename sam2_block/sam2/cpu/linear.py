"""Matrix products, linear layers and layer norms over rows of channels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the name that every PyTorch reader expects
from torch import Tensor

from sam2_block.compute.compute_pool import each
from sam2_block.sam2.cpu.strips import strips

# Pixels per block.
_STRIP = 2048

Product = Callable[[Tensor, Tensor, Tensor | None], Tensor]


def _choose_product() -> Product:
    """Choose the function for matrix products.

    In single precision PyTorch calls MKL, which is half as fast as oneDNN on processors other than
    Intel's. The operator by which PyTorch's own compiler calls oneDNN is not public, so it is
    tested before use.
    """

    def onednn_linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        output: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
        return output

    # With explicit type and device, so that an application's defaults have no effect.
    x, weight, bias = (
        torch.tensor(values, dtype=torch.float32, device="cpu")
        for values in ([[1.0] * 3] * 2, [[0.5] * 3] * 4, [1.0] * 4)
    )
    try:
        with torch.inference_mode():
            works = torch.equal(onednn_linear(x, weight, bias), F.linear(x, weight, bias))
    except (AttributeError, RuntimeError, TypeError):
        works = False
    return onednn_linear if works else F.linear


_PRODUCT = _choose_product()


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return `x @ weight.T + bias`; `(..., in)`, `(out, in)` and `(out,)`, of one type."""
    return _PRODUCT(x, weight, bias)


class Linear:
    """A linear layer whose product is computed in `dtype`.

    Args:
        weight: `(out, in)`.
        bias: `(out,)`.
        dtype: Data type of the product's operands and its result.
    """

    def __init__(self, weight: Tensor, bias: Tensor, dtype: torch.dtype) -> None:
        self.weight, self.bias = weight.to(dtype), bias.to(dtype)

    @classmethod
    def of(cls, layer: Any, dtype: torch.dtype) -> Linear:
        """Make a layer with the weights of a linear layer or a 1x1 convolution."""
        return cls(layer.weight.flatten(1), layer.bias, dtype)

    def __call__(self, x: Tensor) -> Tensor:
        """Map `(..., in)`, of the layer's type, to `(..., out)`."""
        return product(x, self.weight, self.bias)


def apply_in_strips(layers: Sequence[Linear], inputs: Sequence[Tensor]) -> list[Tensor]:
    """Apply each layer to its own input, `(h, w, C)`, one strip of rows at a time."""
    outputs = [
        x.new_empty(*x.shape[:2], len(layer.weight))
        for layer, x in zip(layers, inputs, strict=True)
    ]

    def apply(job: tuple[int, slice]) -> None:
        index, strip = job
        outputs[index][strip] = layers[index](inputs[index][strip])

    jobs = [
        (index, strip)
        for index, x in enumerate(inputs)
        for strip in strips(len(x), _STRIP, width=x.shape[1])
    ]
    each(apply, jobs)
    return outputs


def layer_norm(x: Tensor, norm: Any) -> Tensor:
    """Apply a layer norm over the last axis, in the type of `x`."""
    output: Tensor = F.layer_norm(x, x.shape[-1:], norm.weight, norm.bias, norm.eps)
    return output
