"""Build Meta's model from its configuration, and fill it with weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from sam2_block.backends.local.model_memory_errors import is_memory_error
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

# Options that Meta's `build_sam2` adds to every configuration by default: if a single mask is
# requested and it is not stable, the best of the other three is selected.
_POSTPROCESSING = {
    "dynamic_multimask_via_stability": True,
    "dynamic_multimask_stability_delta": 0.05,
    "dynamic_multimask_stability_thresh": 0.98,
}


def load_model(version: str, checkpoint: Path, device: torch.device) -> Any:
    """Build the model of a version and load its weights.

    The process's defaults and other libraries' patches of PyTorch do not affect the model, and
    PyTorch's random state does not change: the model is built on the device `meta`, and its weights
    are then assigned one by one.

    Args:
        version: One of `sam2_block.versions.NAMES`.
        checkpoint: A `.pt` file with this version's weights, as Meta or a training script saved
            them, or the demo's `.safetensors` file, which holds its own configuration.
        device: The device that its weights are moved to.

    Returns:
        A `sam2.modeling.sam2_base.SAM2Base` in evaluation mode, in single precision.

    Raises:
        CheckpointInvalidError: The file cannot be read, or its weights do not fit the model, or
            are not all finite.
        ModelError: Other code in the process interfered with building the model.
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

    Only classes of `sam2.modeling` are instantiated; a configuration cannot name other code.
    """
    with CreateOn(CPU):
        return sam2_package.build(_completed(config))


def meta_config(version: str) -> dict[str, Any]:
    """Return the `model` node of Meta's configuration of a version, from the package `sam2`.

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
            "has a configuration from which no model can be built"
            f" ({type(error).__name__}: {brief(error)})."
        ) from error


def _completed(config: dict[str, Any]) -> dict[str, Any]:
    extra = {**_POSTPROCESSING, **config.get("sam_mask_decoder_extra_args", {})}
    completed: dict[str, Any] = _without_warm_up({**config, "sam_mask_decoder_extra_args": extra})
    return completed


def _without_warm_up(node: Any) -> Any:
    """Return the configuration with the cache warm-up of position encodings turned off.

    The warm-up would run on the first GPU, even if the operator chose another device.
    """
    if isinstance(node, list):
        return [_without_warm_up(child) for child in node]
    if not isinstance(node, dict):
        return node
    copy = {name: _without_warm_up(child) for name, child in node.items()}
    if str(node.get("_target_", "")).endswith(".PositionEmbeddingSine"):
        copy["warmup_cache"] = False
    return copy


def _check_finite(weights: StateDict) -> None:
    damaged = [name for name, tensor in weights.items() if not torch.isfinite(tensor).all()]
    if damaged:
        raise UnusableFileError(
            f"is damaged: {len(damaged)} of its {len(weights)} weights hold numbers that are not"
            f" finite (first {damaged[0]}). Use another copy, or an earlier checkpoint."
        )


def _fill(model: Any, weights: StateDict, device: torch.device) -> None:
    """Move the weights into an empty model, on the device and in single precision.

    They are assigned without `register_parameter`, which libraries patch for the whole process to
    keep their own models' weights out of memory.
    """
    for prefix, module in model.named_modules():
        for tensors in (module._parameters, module._buffers):
            for name in [name for name, tensor in tensors.items() if tensor is not None]:
                weight = weights.pop(f"{prefix}.{name}" if prefix else name).detach()
                weight = weight.to(
                    device, torch.float32, copy=True, memory_format=torch.contiguous_format
                )
                is_parameter = tensors is module._parameters
                tensors[name] = torch.nn.Parameter(weight, False) if is_parameter else weight


def _check_filled(model: Any, version: str, device: torch.device) -> None:
    """Reject a model that other code in the process has changed, so that it is never shared."""
    tensors = [*model.named_parameters(), *model.named_buffers()]
    changed = [
        name
        for name, tensor in tensors
        if tensor.dtype is not torch.float32 or tensor.device.type != device.type
    ]
    if changed:
        raise ModelError(
            f"SAM 2 {version} could not be loaded: other code of this process changed"
            f" {len(changed)} of its weights (first {changed[0]}). A library may be patching"
            " PyTorch while it loads its own model: try again when it is done."
        )
