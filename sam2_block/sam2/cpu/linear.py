"""Matrix products, and what is applied to every row of channels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the name that every PyTorch reader expects
from torch import Tensor

from sam2_block.compute.compute_pool import each
from sam2_block.sam2.cpu.strips import strips

# Pixels in a block.
_STRIP = 2048

Product = Callable[[Tensor, Tensor, Tensor | None], Tensor]


def _best_product() -> Product:
    """Choose what multiplies.

    In single precision PyTorch calls MKL, which on processors other than Intel's is half as fast
    as oneDNN. The operator by which PyTorch's own compiler calls oneDNN has no public name, so
    that it is tried first.
    """

    def by_one_dnn(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        output: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
        return output

    # Written out, so that neither the default type nor the default device decides.
    x, weight, bias = (
        torch.tensor(values, dtype=torch.float32, device="cpu")
        for values in ([[1.0] * 3] * 2, [[0.5] * 3] * 4, [1.0] * 4)
    )
    try:
        with torch.inference_mode():
            works = torch.equal(by_one_dnn(x, weight, bias), F.linear(x, weight, bias))
    except (AttributeError, RuntimeError, TypeError):
        works = False
    return by_one_dnn if works else F.linear


_PRODUCT = _best_product()


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return `x @ weight.T + bias`; `(..., in)`, `(out, in)` and `(out,)`, of one type."""
    return _PRODUCT(x, weight, bias)


class Linear:
    """A linear layer whose product is computed in `dtype`.

    Args:
        weight: `(out, in)`.
        bias: `(out,)`.
        dtype: Of the product's operands and its result.
    """

    def __init__(self, weight: Tensor, bias: Tensor, dtype: torch.dtype) -> None:
        self.weight, self.bias = weight.to(dtype), bias.to(dtype)

    @classmethod
    def of(cls, layer: Any, dtype: torch.dtype) -> Linear:
        """Take the weights of a linear layer, or of a convolution of single pixels."""
        return cls(layer.weight.flatten(1), layer.bias, dtype)

    def __call__(self, x: Tensor) -> Tensor:
        """`(..., in)`, of the layer's type, to `(..., out)`."""
        return product(x, self.weight, self.bias)


def in_strips(layers: Sequence[Linear], inputs: Sequence[Tensor]) -> list[Tensor]:
    """Apply each layer to its own input, `(h, w, C)`, some rows of pixels at a time."""
    outputs = [
        x.new_empty(*x.shape[:2], len(layer.weight))
        for layer, x in zip(layers, inputs, strict=True)
    ]

    def apply(job: tuple[int, slice]) -> None:
        index, part = job
        outputs[index][part] = layers[index](inputs[index][part])

    jobs = [
        (index, part)
        for index, x in enumerate(inputs)
        for part in strips(len(x), _STRIP, width=x.shape[1])
    ]
    each(apply, jobs)
    return outputs


def normed(x: Tensor, norm: Any) -> Tensor:
    """Apply a layer norm over the last axis, in the type of `x`."""
    output: Tensor = F.layer_norm(x, x.shape[-1:], norm.weight, norm.bias, norm.eps)
    return output
