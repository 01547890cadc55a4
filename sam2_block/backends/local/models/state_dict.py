"""Find a model's weights in what training scripts save, or describe what the file holds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from sam2_block.backends.local.models.checkpoint_file import UnusableFileError, printable

StateDict = dict[str, Tensor]
Shapes = Mapping[str, torch.Size]

# Parts that PyTorch's wrappers add to names: data parallel training, `torch.compile`, sharding,
# activation checkpointing.
_WRAPPERS = re.compile(
    r"(?:^|(?<=\.))(?:module|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\."
)
# Every SAM 2 has this weight; the prefix of its name is the prefix of all names.
_FIRST_PART, _LANDMARK = "image_encoder", "image_encoder.trunk.pos_embed"
_MAX_DEPTH = 3

# Number of blocks in the trunk -> size, in Meta's four configurations.
_SIZES = {12: "hiera_tiny", 16: "hiera_small", 24: "hiera_b_plus", 48: "hiera_large"}

# Prefix of a weight's name -> description of a checkpoint that has such weights.
_OTHER_MODELS = {
    "image_encoder.patch_embed": "the weights of the first Segment Anything (SAM 1)",
    "detector.": "the weights of SAM 3",
    "tracker.": "the weights of SAM 3",
    "vision_encoder.": "the weights of SAM 2 under the names of the transformers library",
}
_PARTS = ("image_encoder", "sam_mask_decoder", "sam_prompt_encoder", "memory_")


def find_weights(content: Any, expected: Shapes, version: str) -> StateDict:
    """Find the weights of a model.

    The state dict may be the content itself, or be under any key (`model`, `state_dict`, ...), and
    its names may share a prefix. If several fit, `model` has the highest priority, and averages of
    the training (`ema`) have the lowest.

    Args:
        content: The content of a checkpoint.
        expected: Names and shapes of the model's weights.
        version: The model's version, for messages.

    Returns:
        Exactly the expected names, with tensors of the expected shapes, of any floating type.

    Raises:
        UnusableFileError: There is no such state dict; the message describes the content.
    """
    closest: tuple[int, str] | None = None
    for weights in _candidates(content):
        problems = _problems(weights, expected)
        if not problems:
            return weights
        problem_count = sum(len(names) for names in problems.values())
        if closest is None or problem_count < closest[0]:
            closest = problem_count, _mismatch_message(weights, problems, version)
    raise UnusableFileError(closest[1] if closest else f"holds {_describe_content(content)}.")


def _candidates(content: Any, depth: int = 0) -> Iterator[StateDict]:
    """Yield state dicts of SAM 2, complete or not, in order of preference."""
    if not isinstance(content, Mapping):
        return
    tensors = {
        name: value
        for name, value in content.items()
        if isinstance(name, str) and isinstance(value, Tensor)
    }
    prefixes = {
        name[: name.rindex(_FIRST_PART)]
        for name in tensors
        if _WRAPPERS.sub("", name).endswith(_LANDMARK)
    }
    for prefix in sorted(prefixes, key=_preference):
        yield {
            _WRAPPERS.sub("", name[len(prefix) :]): value
            for name, value in tensors.items()
            if name.startswith(prefix)
        }
    if depth < _MAX_DEPTH:
        for key in sorted(content, key=_preference):
            yield from _candidates(content[key], depth + 1)


def _preference(key: Any) -> tuple[bool, bool, int]:
    name = str(key).strip(".")
    return "ema" in name.lower(), name != "model", len(name)


def _problems(weights: StateDict, expected: Shapes) -> dict[str, list[str]]:
    shared = [name for name in expected if name in weights]
    problems = {
        "missing": [name for name in expected if name not in weights],
        "not of this model": [name for name in weights if name not in expected],
        "of another shape": [name for name in shared if weights[name].shape != expected[name]],
        "not dense floating-point": [name for name in shared if not _is_plain(weights[name])],
    }
    return {problem: names for problem, names in problems.items() if names}


def _is_plain(tensor: Tensor) -> bool:
    is_dense = tensor.layout is torch.strided and not tensor.is_quantized
    return is_dense and tensor.is_floating_point() and tensor.device.type != "meta"


def _mismatch_message(weights: StateDict, problems: dict[str, list[str]], version: str) -> str:
    other = _version(weights)
    hint = f" They look like those of {other}." if other not in (None, version) else ""
    details = "; ".join(
        f"{len(names)} {problem} ({_listed(names)})" for problem, names in problems.items()
    )
    return f"holds weights that do not fit this version's model: {details}.{hint}"


def _version(weights: StateDict) -> str | None:
    """Return the version of the weights, by the number of blocks and a weight new in SAM 2.1."""
    blocks = {
        name.split(".")[3] for name in weights if name.startswith("image_encoder.trunk.blocks.")
    }
    size = _SIZES.get(len(blocks))
    return f"sam2.1_{size}" if size and "no_obj_embed_spatial" in weights else size


def _describe_content(content: Any) -> str:
    """Describe a checkpoint that has no weights of SAM 2's image encoder."""
    names = sorted(_tensor_names(content))
    for prefix, description in _OTHER_MODELS.items():
        if any(name.startswith(prefix) for name in names):
            return description
    parts = sorted({name.split(".")[0] for name in names if name.startswith(_PARTS)})
    if parts:
        return f"only parts of SAM 2 ({_listed(parts)}); all of its weights are needed"
    if isinstance(content, Mapping) and "param_groups" in content:
        return "the state of an optimizer and no weights"
    if names:
        return f"weights of another model ({_listed(names)})"
    keys = sorted(map(str, content)) if isinstance(content, Mapping) else []
    return "no weights" + (f", but {_listed(keys)}" if keys else "")


def _tensor_names(content: Any, depth: int = 0) -> set[str]:
    if not isinstance(content, Mapping):
        return set()
    names = {
        re.sub(r"^model\.", "", _WRAPPERS.sub("", key))
        for key, value in content.items()
        if isinstance(key, str) and isinstance(value, Tensor)
    }
    nested = content.values() if depth < _MAX_DEPTH else ()
    return names.union(*(_tensor_names(child, depth + 1) for child in nested))


def _listed(names: list[str]) -> str:
    shown = ", ".join(printable(name) for name in names[:3])
    return shown + (", ..." if len(names) > 3 else "")
