"""Weights of hiera_tiny whose masks look like a detector's objects, made without any training.

A model with random weights answers with masks of thousands of parts, which no box gives, and
polygons of them would cost the built-in block minutes. Here the image encoder is random, and the
decoder's weights are set by hand so that a mask fills its box: with rounded corners, and with an
outline that wavers with the image. The operations are those of any weights.

How: the first layer's attention of image to tokens compares each cell's position with the box's
corners, one head a side of the box. A head chooses between a corner and all other tokens by
`sigmoid(slope * distance)`, the signed distance to that side. The upscaling adds what each pixel is
off its cell's centre, and a GELU takes from the mask's logit what is outside of a side.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmark.pictures import make_image
from benchmark.places import MODEL_FILE
from sam2_block.backends.local.models.model_loading import build_model, meta_config

_CELL = 16.0  # pixels of the encoder's square that a cell of the embedding stands for
_SIDE = 1024.0

# Channels of the decoder's 256. Position encodings are sines (0 to 127) and cosines (128 to 255) of
# waves; all waves but the first four are set flat, which leaves channels of 0 and of 1.
_X, _Y = (0, 1), (2, 3)  # a long and a short wave along each axis
_COSINE = 128  # between a wave's sine and its cosine
_ONE = 255  # the cosine of a flat wave
_TOP_LEFT, _BOTTOM_RIGHT, _OTHER = 10, 11, 12  # mark the tokens
_UP, _DOWN = 20, 21  # opposite constants, beside which a LayerNorm only scales
_DISTANCES = 30  # the first of four

_PERIODS = (8.0, 1.0)  # of the waves, in sides of the image
_AMPLITUDES = (48.0, 4.0)  # of their share in `slope * distance`
_CONSTANT = 16.0
_OUTSIDE = 1 / 8  # what the GELU takes is computed in units of 8 pixels
_INSIDE = 0.02  # the logit inside
_FEATURES = 0.001  # share of the image's features that is left in the embedding
_WAVER = 0.15  # standard deviation that they lend to the distance from each side, in those units


def write_weights(folder: Path, seed: int = 0) -> Path:
    """Write them in Meta's layout and under Meta's name, and return the file."""
    torch.manual_seed(seed)
    model = build_model(meta_config("hiera_tiny")).eval()
    with torch.no_grad():
        fill_boxes(model)
    return save(model, folder)


def write_random_weights(folder: Path, seed: int = 0) -> Path:
    """Write weights as they are before any training."""
    torch.manual_seed(seed)
    return save(build_model(meta_config("hiera_tiny")), folder)


def save(model: Any, folder: Path) -> Path:
    """Write a model's weights in one move."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / MODEL_FILE
    torch.save({"model": model.state_dict()}, path.with_suffix(".part"))
    return path.with_suffix(".part").replace(path)


def fill_boxes(model: Any) -> None:
    """Set the weights of prompt encoder and mask decoder."""
    decoder = model.sam_mask_decoder
    for parameter in model.image_encoder.neck.convs.parameters():
        parameter.mul_(_FEATURES)
    _mark_tokens(model)
    first, second = decoder.transformer.layers
    for layer in (first, second):
        _silence(layer.cross_attn_token_to_image.out_proj)
        _silence(layer.mlp.layers[-1])
        # Undoes what the constants make a LayerNorm divide by.
        layer.norm4.weight.fill_(math.sqrt(2 * _CONSTANT**2 / len(layer.norm4.weight)))
    _keep_marks(first.self_attn)
    _silence(second.self_attn.out_proj)
    _silence(second.cross_attn_image_to_token.out_proj)
    _silence(decoder.transformer.final_attn_token_to_image.out_proj)
    _measure_distances(first.cross_attn_image_to_token, others=_count_others(decoder))
    _upscale(decoder, _slope())
    _waver(model)
    _answer(decoder)


def _mark_tokens(model: Any) -> None:
    encoder, decoder = model.sam_prompt_encoder, model.sam_mask_decoder
    waves = encoder.pe_layer.positional_encoding_gaussian_matrix
    waves.zero_()
    for axis, columns in enumerate((_X, _Y)):
        for column, period in zip(columns, _PERIODS, strict=True):
            waves[axis, column] = 1 / (2 * period)  # the encoding runs from -1 to 1
    marks = {2: _TOP_LEFT, 3: _BOTTOM_RIGHT}
    for label, channel in marks.items():
        _set(encoder.point_embeddings[label].weight, (0, channel), 1)
    for others in (
        *(encoder.point_embeddings[label].weight for label in (0, 1)),
        encoder.not_a_point_embed.weight,
        decoder.iou_token.weight,
        decoder.mask_tokens.weight,
        decoder.obj_score_token.weight,
    ):
        _set(others, (slice(None), _OTHER), 1)
    model.no_mem_embed.zero_()
    no_mask = encoder.no_mask_embed.weight
    _set(no_mask, (0, _UP), _CONSTANT)
    no_mask[0, _DOWN] = -_CONSTANT


def _count_others(decoder: Any) -> int:
    """Return how many tokens of a box are no corner: the decoder's own, and the padding."""
    return len(decoder.obj_score_token.weight) + len(decoder.mask_tokens.weight) + 2


def _keep_marks(attention: Any) -> None:
    """Let every token attend to those with its mark; the outcome is the mark."""
    for layer in (attention.q_proj, attention.k_proj, attention.v_proj, attention.out_proj):
        _silence(layer)
    for row, channel in enumerate((_TOP_LEFT, _BOTTOM_RIGHT, _OTHER)):
        attention.q_proj.weight[row, channel] = 20
        attention.k_proj.weight[row, channel] = 20
        attention.v_proj.weight[row, channel] = 1
        attention.out_proj.weight[channel, row] = 1


def _measure_distances(attention: Any, others: int) -> None:
    """Write the sigmoid of the distance to each side, less a half, into a channel of its own."""
    for layer in (attention.q_proj, attention.k_proj, attention.v_proj, attention.out_proj):
        _silence(layer)
    width = attention.internal_dim // attention.num_heads
    # A mark is 1 in the token itself, and what a LayerNorm makes of a single 1 in its queries.
    channels = attention.embedding_dim
    queried = math.sqrt(channels - 1)
    mark = 1 + queried
    sides = (
        (_X, _TOP_LEFT, _BOTTOM_RIGHT, 1),
        (_Y, _TOP_LEFT, _BOTTOM_RIGHT, 1),
        (_X, _BOTTOM_RIGHT, _TOP_LEFT, -1),
        (_Y, _BOTTOM_RIGHT, _TOP_LEFT, -1),
    )
    for head, (waves, corner, opposite, sign) in enumerate(sides):
        start = head * width
        q, k = attention.q_proj.weight, attention.k_proj.weight
        for index, (wave, amplitude) in enumerate(zip(waves, _AMPLITUDES, strict=True)):
            # sin(a) cos(b) - cos(a) sin(b) = sin(a - b), a of the cell and b of the corner
            row = start + 2 * index
            q[row, wave], q[row + 1, wave + _COSINE] = 1, 1
            scale = sign * amplitude * math.sqrt(width)
            k[row, wave + _COSINE], k[row + 1, wave] = scale, -scale
        row = start + 4
        q[row, _ONE] = 1
        k[row, corner] = math.log(others) * math.sqrt(width) / mark
        k[row, opposite] = -1000 * math.sqrt(width) / mark
        attention.v_proj.weight[start, corner] = 1 / queried
        attention.out_proj.weight[_DISTANCES + head, start] = 1
        attention.out_proj.bias[_DISTANCES + head] = -0.5


def _slope() -> float:
    """Return by how much a distance channel grows from one pixel to the next at a side."""
    waves = zip(_AMPLITUDES, _PERIODS, strict=True)
    return sum(a * 2 * math.pi / period for a, period in waves) / 4 / _SIDE


def _upscale(decoder: Any, slope: float) -> None:
    first, norm, _, second, _ = decoder.output_upscaling
    for layer in (first, second):
        _silence(layer)
    norm.weight.fill_(math.sqrt(2 * _CONSTANT**2 / len(norm.weight)))
    for channel in (_UP, _DOWN):
        first.weight[channel, channel] = 1
    for side in range(4):
        axis = 3 if side % 2 == 0 else 2  # of the kernel: columns for x, rows for y
        away = 1 if side < 2 else -1
        steps = torch.tensor([-1.0, 1.0]) * away
        steps = steps.reshape(1, 2) if axis == 3 else steps.reshape(2, 1)
        # GELU(z) - GELU(-z) = z, so that a pair of channels passes the GELU unchanged.
        for channel, sign in ((2 * side, 1), (2 * side + 1, -1)):
            first.weight[_DISTANCES + side, channel] = sign
            first.weight[_UP, channel] = sign * steps * slope * _CELL / 4 / _CONSTANT
        outside = _OUTSIDE / slope
        second.weight[2 * side, side] = -outside
        second.weight[2 * side + 1, side] = outside
        second.weight[_UP, side] = -steps * _OUTSIDE * _CELL / 8 / _CONSTANT
    second.weight[_UP, 4] = 1 / _CONSTANT


def _waver(model: Any) -> None:
    """Let the image's features of the highest resolution, a few pixels' worth, into the sides."""
    decoder = model.sam_mask_decoder
    _silence(decoder.conv_s1)
    conv = decoder.conv_s0
    conv.bias.zero_()
    conv.weight[4:] = 0
    image = make_image([0], int(_SIDE), int(_SIDE))[..., ::-1]
    pixels = (torch.from_numpy(image.copy()).permute(2, 0, 1)[None] / 255 - 0.45) / 0.225
    seen = model.forward_image(pixels)["backbone_fpn"][0][0, :4].flatten(1)
    scale = _WAVER / seen.std(1)
    conv.weight[:4] *= scale.reshape(4, 1, 1, 1)
    conv.bias[:4] = -seen.mean(1) * scale


def _answer(decoder: Any) -> None:
    for index, mlp in enumerate(decoder.output_hypernetworks_mlps):
        _silence(mlp.layers[-1])
        mlp.layers[-1].bias[:4] = -1
        # The second of the three is a little larger than the others, and has the best score.
        mlp.layers[-1].bias[4] = (_INSIDE + 0.02 * (index == 2)) / 0.8413
    head = decoder.iou_prediction_head.layers[-1]
    _silence(head)
    head.bias.copy_(torch.tensor([1.5, 1.0, 2.0, 0.5]))


def _silence(layer: Any) -> None:
    layer.weight.zero_()
    layer.bias.zero_()


def _set(tensor: Tensor, place: Any, value: float) -> None:
    """Make a tensor 0 everywhere but in one place."""
    tensor.zero_()
    tensor[place] = value
