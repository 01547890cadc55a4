"""Build Meta's model from its configuration, and fill it with weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from sam2_block.backends.local.memory_errors import is_memory_error
from sam2_block.backends.local.models.checkpoint_file import (
    UnusableFileError,
    brief,
    read_checkpoint,
)
from sam2_block.backends.local.models.state_dict import StateDict, find_weights
from sam2_block.compute.explicit_creation import CPU, CreateOn
from sam2_block.errors import CheckpointInvalidError, ModelError
from sam2_block.sam2 import sam2_package
from sam2_block.versions import META_RELEASES

# What Meta's own `build_sam2` adds to every configuration by default: when one mask is asked for
# and it is not stable, the best of the other three is taken.
_POSTPROCESSING = {
    "dynamic_multimask_via_stability": True,
    "dynamic_multimask_stability_delta": 0.05,
    "dynamic_multimask_stability_thresh": 0.98,
}


def load_model(version: str, checkpoint: Path, device: torch.device) -> Any:
    """Build the model of a version and load its weights.

    Neither the process's defaults nor another library's patches of PyTorch reach the model, and
    PyTorch's random numbers are left alone: it is built without memory, and its weights are put
    into place one by one.

    Args:
        version: One of `sam2_block.versions.NAMES`.
        checkpoint: A `.pt` file with this version's weights, as Meta or a training script saved
            them, or the demo's `.safetensors` file, which holds its own configuration.
        device: Where the model is to live.

    Returns:
        A `sam2.modeling.sam2_base.SAM2Base` in evaluation mode, in single precision.

    Raises:
        CheckpointInvalidError: The file cannot be read, or its weights do not fit the model, or
            are not all finite.
        ModelError: Other code of the process kept the model from being built.
    """
    try:
        config, content = read_checkpoint(checkpoint)
        model = _build_empty(config or meta_config(version))
        expected = {name: tensor.shape for name, tensor in model.state_dict().items()}
        weights = find_weights(content, expected, version)
        _check_finite(weights)
    except UnusableFileError as error:
        raise CheckpointInvalidError(f"version {version}: {checkpoint} {error}") from error
    del content
    _fill(model, weights, device)
    _check_filled(model, version, device)
    return model.eval()


def build_model(config: dict[str, Any]) -> Any:
    """Build a `SAM2Base` with random weights from the `model` node of a configuration.

    Only classes of `sam2.modeling` are built: a configuration cannot name other code.
    """
    with CreateOn(CPU):
        return sam2_package.build(_completed(config))


def meta_config(version: str) -> dict[str, Any]:
    """Return the `model` node of Meta's configuration of a version, read from the package `sam2`.

    Args:
        version: One of `sam2_block.versions.META_RELEASES`.
    """
    from omegaconf import OmegaConf

    node = OmegaConf.create(sam2_package.config_text(META_RELEASES[version].config_file)).model
    config: dict[str, Any] = OmegaConf.to_container(node, resolve=True)
    return config


def _build_empty(config: dict[str, Any]) -> Any:
    """Build a `SAM2Base` whose weights are on the device `meta`: names and shapes only."""
    try:
        with CreateOn(CPU, storage=torch.device("meta")):
            return sam2_package.build(_completed(config))
    except (TypeError, ValueError, KeyError) as error:
        if is_memory_error(error):
            raise
        raise UnusableFileError(
            f"has a configuration that builds no model ({type(error).__name__}: {brief(error)})."
        ) from error


def _completed(config: dict[str, Any]) -> dict[str, Any]:
    extra = {**_POSTPROCESSING, **config.get("sam_mask_decoder_extra_args", {})}
    completed: dict[str, Any] = _without_warm_up({**config, "sam_mask_decoder_extra_args": extra})
    return completed


def _without_warm_up(node: Any) -> Any:
    """Return the configuration with position encodings that fill no cache when they are built.

    They would fill it on the first GPU there is, whichever device the operator chose.
    """
    if isinstance(node, list):
        return [_without_warm_up(child) for child in node]
    if not isinstance(node, dict):
        return node
    changed = {name: _without_warm_up(child) for name, child in node.items()}
    if str(node.get("_target_", "")).endswith(".PositionEmbeddingSine"):
        changed["warmup_cache"] = False
    return changed


def _check_finite(weights: StateDict) -> None:
    damaged = [name for name, tensor in weights.items() if not torch.isfinite(tensor).all()]
    if damaged:
        raise UnusableFileError(
            f"is damaged: {len(damaged)} of its {len(weights)} weights hold numbers that are not"
            f" finite (first {damaged[0]}). Use another copy, or an earlier state of the training."
        )


def _fill(model: Any, weights: StateDict, device: torch.device) -> None:
    """Put weights into an empty model, which is then on the device, in single precision.

    They go past `register_parameter`, which libraries patch for the whole process to keep the
    weights of THEIR models off the memory.
    """
    for prefix, module in model.named_modules():
        for slots in (module._parameters, module._buffers):
            for key in [key for key, slot in slots.items() if slot is not None]:
                tensor = weights.pop(f"{prefix}.{key}" if prefix else key).detach()
                tensor = tensor.to(
                    device, torch.float32, copy=True, memory_format=torch.contiguous_format
                )
                is_parameter = slots is module._parameters
                slots[key] = torch.nn.Parameter(tensor, False) if is_parameter else tensor


def _check_filled(model: Any, version: str, device: torch.device) -> None:
    """Refuse a model that other code of the process has changed, so that none is kept."""
    tensors = [*model.named_parameters(), *model.named_buffers()]
    wrong = [
        name
        for name, tensor in tensors
        if tensor.dtype is not torch.float32 or tensor.device.type != device.type
    ]
    if wrong:
        raise ModelError(
            f"SAM 2 {version} could not be loaded: other code of this process changed"
            f" {len(wrong)} of its weights (first {wrong[0]}). Is a library patching PyTorch while"
            " it loads a model of its own? Try again after that."
        )
