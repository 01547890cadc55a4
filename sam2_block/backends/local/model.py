"""Build Meta's model from its configuration, and fill it with weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from sam2_block.backends.local.memory_errors import is_memory_error
from sam2_block.backends.local.sam2_package import config_text, sam2_modules
from sam2_block.errors import CheckpointInvalidError
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

    Args:
        version: One of `sam2_block.versions.NAMES`.
        checkpoint: Meta's `.pt` file, or the demo's `.safetensors` file, which holds its own
            configuration.
        device: Where the model is to live.

    Returns:
        A `sam2.modeling.sam2_base.SAM2Base` in evaluation mode, in single precision.

    Raises:
        CheckpointInvalidError: The file cannot be read, or its weights do not fit the model.
    """
    try:
        if checkpoint.suffix == ".safetensors":
            config, weights = _read_safetensors(checkpoint)
        else:
            config, weights = None, _read_pt(checkpoint)
    except OSError as error:
        raise CheckpointInvalidError(
            f"version {version}: {checkpoint} cannot be read ({error.strerror or error})."
        ) from error
    except Exception as error:
        if is_memory_error(error):
            raise
        # Damaged files fail in the readers with errors of many kinds (pickle, zip, JSON, key).
        raise CheckpointInvalidError(
            f"version {version}: {checkpoint} is not a checkpoint that can be read"
            f" ({type(error).__name__}: {_brief(error)}). Delete it and fetch it again."
        ) from error
    model = build_model(config or meta_config(version))
    try:
        model.load_state_dict(weights, strict=True)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise CheckpointInvalidError(
            f"version {version}: the weights in {checkpoint} do not fit this version's model"
            f" ({_brief(error)}). Is it the checkpoint of another version?"
        ) from error
    return model.to(device).eval().requires_grad_(False)


def build_model(config: dict[str, Any]) -> Any:
    """Build a `SAM2Base` with random weights from the `model` node of a configuration.

    Only classes of `sam2.modeling` are built: a configuration cannot name other code.
    """
    from hydra.utils import instantiate
    from omegaconf import OmegaConf

    _check_targets(config)
    config = _without_warm_up(config)
    extra = {**_POSTPROCESSING, **config.get("sam_mask_decoder_extra_args", {})}
    node = OmegaConf.create({**config, "sam_mask_decoder_extra_args": extra})
    with sam2_modules():
        return instantiate(node, _recursive_=True)


def meta_config(version: str) -> dict[str, Any]:
    """Return the `model` node of Meta's configuration of a version, read from the package `sam2`.

    Args:
        version: One of `sam2_block.versions.META_RELEASES`.
    """
    from omegaconf import OmegaConf

    node = OmegaConf.create(config_text(META_RELEASES[version].config_file)).model
    config: dict[str, Any] = OmegaConf.to_container(node, resolve=True)
    return config


def _read_pt(checkpoint: Path) -> dict[str, torch.Tensor]:
    content = torch.load(checkpoint, map_location="cpu", weights_only=True)
    weights: dict[str, torch.Tensor] = content["model"]
    return weights


def _read_safetensors(checkpoint: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    from safetensors import safe_open

    with safe_open(checkpoint, framework="pt") as file:
        config = json.loads(file.metadata()["config"])
        weights = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
    return config, weights


def _check_targets(node: Any) -> None:
    if isinstance(node, dict):
        target = node.get("_target_")
        if target is not None and not str(target).startswith("sam2.modeling."):
            raise CheckpointInvalidError(
                f"the checkpoint's configuration names {target!r}; expected classes of"
                " sam2.modeling only."
            )
        for child in node.values():
            _check_targets(child)
    elif isinstance(node, list):
        for child in node:
            _check_targets(child)


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


def _brief(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2])[:300] if lines else "no message"
