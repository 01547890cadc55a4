"""What training scripts save is loaded, or the message says what it is."""

from __future__ import annotations

import argparse
import re
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sam2_block.backends.local.models.checkpoint_file import UnusableFileError, read_checkpoint
from sam2_block.backends.local.models.model_loading import load_model
from sam2_block.backends.local.models.state_dict import find_weights
from sam2_block.errors import CheckpointInvalidError

CPU = torch.device("cpu")
LANDMARK = "image_encoder.trunk.pos_embed"
WEIGHTS = {
    LANDMARK: torch.tensor([[1.0, 2.0]]),
    "image_encoder.trunk.blocks.0.norm1.weight": torch.tensor([3.0]),
    "sam_mask_decoder.iou_token.weight": torch.tensor([4.0, 5.0]),
}
EXPECTED = {name: tensor.shape for name, tensor in WEIGHTS.items()}
OTHER = {name: tensor + 100 for name, tensor in WEIGHTS.items()}
OPTIMIZER = {"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 0.1}]}


def prefixed(prefix: str, weights: dict[str, torch.Tensor] = WEIGHTS) -> dict[str, torch.Tensor]:
    return {prefix + name: tensor for name, tensor in weights.items()}


SOUND: dict[str, Any] = {
    "Meta's": {"model": WEIGHTS},
    "a bare state dict": WEIGHTS,
    "a state dict of PyTorch's own class": OrderedDict(WEIGHTS),
    "under state_dict": {"state_dict": WEIGHTS},
    "under model_state_dict, with an optimizer": {
        "epoch": 3,
        "model_state_dict": WEIGHTS,
        "optimizer_state_dict": OPTIMIZER,
    },
    "under a key of no fixed name": {"net_g": WEIGHTS, "step": 10},
    "two levels down": {"checkpoint": {"model": WEIGHTS}},
    "an average of the training alone": {"ema_state_dict": WEIGHTS},
    "an average beside the weights": {"ema": OTHER, "state_dict": WEIGHTS},
    "an average with a prefix, beside the weights": {
        "state_dict": {**prefixed("ema_model.", OTHER), **prefixed("model.")}
    },
    "model before others": {"best": OTHER, "model": WEIGHTS},
    "of DataParallel": {"model": prefixed("module.")},
    "of torch.compile": prefixed("_orig_mod."),
    "of both": {"state_dict": prefixed("module._orig_mod.")},
    "compiled in part": {
        name.replace("image_encoder.", "image_encoder._orig_mod."): tensor
        for name, tensor in WEIGHTS.items()
    },
    "sharded, with checkpointed activations": {
        f"_fsdp_wrapped_module.{name.replace('0.norm1', '0._checkpoint_wrapped_module.norm1')}": w
        for name, w in WEIGHTS.items()
    },
    "of Lightning, beside weights of a loss": {
        "pytorch-lightning_version": "2.4.0",
        "state_dict": {**prefixed("model."), "criterion.weight": torch.ones(3)},
        "optimizer_states": [OPTIMIZER],
    },
    "of an averaged model of PyTorch": {**prefixed("module."), "n_averaged": torch.tensor(7)},
    "under a predictor": {"model": prefixed("sam2.model.")},
}


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("case", SOUND)
def test_sound_checkpoints_are_loaded(case: str, legacy: bool, tmp_path: Path) -> None:
    path = tmp_path / "sam2_hiera_tiny.pt"
    torch.save(SOUND[case], path, _use_new_zipfile_serialization=not legacy)
    _, content = read_checkpoint(path)
    found = find_weights(content, EXPECTED, "hiera_tiny")
    assert found.keys() == WEIGHTS.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in WEIGHTS.items())


def changed(landmark: torch.Tensor) -> dict[str, Any]:
    return {"model": {**WEIGHTS, LANDMARK: landmark}}


blocks = {f"image_encoder.trunk.blocks.{index}.w": torch.ones(1) for index in range(48)}

UNFIT: dict[str, tuple[Any, str]] = {
    "a weight is missing": (
        {LANDMARK: WEIGHTS[LANDMARK]},
        r"do not fit this version's model: 2 missing \(image_encoder\.trunk\.blocks\.0\.norm1",
    ),
    "there are more": (
        {**WEIGHTS, "image_encoder.trunk.blocks.0.lora_A": torch.ones(1)},
        r"1 not of this model \(image_encoder\.trunk\.blocks\.0\.lora_A\)\.$",
    ),
    "of another size": (changed(torch.ones(7)), r"1 of another shape \(image_encoder\.trunk\.p"),
    "of another version": (
        {**WEIGHTS, **blocks, "no_obj_embed_spatial": torch.ones(1)},
        r"They look like those of sam2\.1_hiera_large\.$",
    ),
    "whole numbers": (changed(torch.ones(1, 2, dtype=torch.int8)), "1 not dense floating"),
    "complex numbers": (changed(torch.ones(1, 2, dtype=torch.complex64)), "1 not dense"),
    "sparse": (changed(WEIGHTS[LANDMARK].to_sparse()), "1 not dense floating-point"),
    "without storage": (changed(torch.ones(1, 2, device="meta")), "1 not dense floating-point"),
    "larger than its storage": (changed(torch.ones(1).expand(10**7, 10**7)), "1 of another sh"),
    "the closest of several is described": (
        {"model": {LANDMARK: WEIGHTS[LANDMARK]}, "other": {**WEIGHTS, "more": torch.ones(1)}},
        r"1 not of this model \(more\)",
    ),
    "a part": (
        {"state_dict": {"model.sam_mask_decoder.iou_token.weight": torch.ones(1)}},
        r"^holds only parts of SAM 2 \(sam_mask_decoder\); all of its weights are needed\.$",
    ),
    "SAM 1": ({"image_encoder.patch_embed.proj.weight": torch.ones(1)}, r"\(SAM 1\)\.$"),
    "SAM 3": ({"detector.backbone.w": torch.ones(1)}, r"holds the weights of SAM 3\.$"),
    "transformers": ({"vision_encoder.backbone.w": torch.ones(1)}, "the transformers library"),
    "another model": ({"conv1.weight": torch.ones(1)}, r"of another model \(conv1\.weight\)"),
    "an optimizer": (OPTIMIZER, "holds the state of an optimizer and no weights"),
    "settings": ({"lr": 0.1, "epochs": 3}, r"^holds no weights, but epochs, lr\.$"),
    "a list": ([WEIGHTS], r"^holds no weights\.$"),
    "a tensor": (torch.ones(1), r"^holds no weights\.$"),
    "nothing": ({}, r"^holds no weights\.$"),
    "names for a terminal": (
        {"\x1b[31m" + "n" * 500: torch.ones(1)},
        r"of another model \(\?\[31mn+\.\.\.\)",
    ),
}


@pytest.mark.parametrize("case", UNFIT)
def test_what_does_not_fit_is_described(case: str, tmp_path: Path) -> None:
    content, message = UNFIT[case]
    path = tmp_path / "sam2_hiera_tiny.pt"
    torch.save(content, path)
    with pytest.raises(UnusableFileError, match=message) as raised:
        find_weights(read_checkpoint(path)[1], EXPECTED, "hiera_tiny")
    assert len(str(raised.value)) < 500
    assert str(raised.value).isprintable()


def write_objects(content: Any) -> Callable[[Path], None]:
    return lambda path: torch.save(content, path)


def write_bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}.")
        archive.writestr("archive/data/0", bytes(10**7))


def write_script(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}.")
        archive.writestr("archive/constants.pkl", b"\x80\x02).")


def write_half(path: Path) -> None:
    torch.save({"model": WEIGHTS}, path)
    path.write_bytes(path.read_bytes()[:-200])


def write_flipped(path: Path) -> None:
    """Flip one bit, of the exponent of one weight: it stays finite."""
    torch.save({"model": WEIGHTS}, path)
    content = bytearray(path.read_bytes())
    content[content.index(WEIGHTS[LANDMARK].numpy().tobytes()) + 3] ^= 0x10
    path.write_bytes(content)


UNREADABLE: dict[str, tuple[Callable[[Path], object], str]] = {
    "arguments of a training": (
        write_objects({"model": WEIGHTS, "args": argparse.Namespace(lr=1)}),
        r"holds Python objects \(argparse\.Namespace\).* torch\.save\({'model': model\.state_dict",
    ),
    "a figure of NumPy's": (
        write_objects({"model": WEIGHTS, "best": np.float64(1)}),
        r"holds Python objects \(numpy\.",
    ),
    "a whole model": (
        write_objects(torch.nn.Linear(1, 1)),
        r"holds Python objects \(torch\.nn\.modules\.linear\.Linear\)",
    ),
    "a bomb": (write_bomb, r"would unpack to 10000004 bytes from \d{4,5}\."),
    "a program": (write_script, "is a TorchScript program; expected a state dict"),
    "a pointer": (
        lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0"),
        "is a Git LFS pointer",
    ),
    "a web page": (lambda path: path.write_text("<!DOCTYPE html><title>403</title>"), "a web page"),
    "one bit flipped": (write_flipped, r"is damaged: \S+/data/\d+ does not match its checksum"),
    "cut off": (write_half, "is not a checkpoint that can be read .*, delete it and fetch it"),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_what_cannot_be_read_is_described(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, message = UNREADABLE[case]
    path = tmp_path / "sam2_hiera_tiny.pt"
    write(path)
    if case == "a bomb":  # refused by its index alone
        monkeypatch.setattr(torch, "load", None)
    with pytest.raises(CheckpointInvalidError, match=message) as raised:
        load_model("hiera_tiny", path, CPU)
    text = str(raised.value)
    assert text.startswith(f"version hiera_tiny: {path} ")
    assert ("elete it" in text) is (case == "cut off")  # all else may be somebody's only copy
    assert "weights_only" not in text
    assert text.isprintable()  # one line, and no codes of a terminal


@pytest.mark.parametrize("header", [2**60, 10**8 + 1, 10**6], ids=str)
def test_a_safetensors_header_that_claims_too_much_is_refused(header: int, tmp_path: Path) -> None:
    path = tmp_path / "demo.safetensors"
    path.write_bytes(header.to_bytes(8, "little") + b"{}")
    with pytest.raises(CheckpointInvalidError, match="is not a checkpoint that can be read"):
        load_model("demo", path, CPU)


def test_a_safetensors_tensor_that_claims_too_much_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "demo.safetensors"
    header = b'{"w":{"dtype":"F32","shape":[250000000000],"data_offsets":[0,1000000000000]}}'
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(100))
    with pytest.raises(CheckpointInvalidError, match="is not a checkpoint that can be read"):
        load_model("demo", path, CPU)


@pytest.fixture(scope="module")
def tiny(random_checkpoint: Any) -> Any:
    return torch.load(random_checkpoint("hiera_tiny"), weights_only=True)["model"]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_any_floating_type_are_single_precision_once_loaded(
    dtype: torch.dtype, tiny: Any, tmp_path: Path
) -> None:
    path = tmp_path / "sam2_hiera_tiny.pt"
    torch.save({name: tensor.to(dtype) for name, tensor in tiny.items()}, path)
    loaded = load_model("hiera_tiny", path, CPU).state_dict()
    assert loaded.keys() == tiny.keys()
    for name, tensor in loaded.items():
        assert torch.equal(tensor, tiny[name].to(dtype).float())
        assert tensor.is_contiguous()


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_weights_that_are_not_finite_are_refused(value: float, tiny: Any, tmp_path: Path) -> None:
    path, name = tmp_path / "sam2_hiera_tiny.pt", "sam_mask_decoder.iou_token.weight"
    damaged = tiny[name].clone()
    damaged[0, -1] = value
    torch.save({"model": {**tiny, name: damaged}}, path)
    with pytest.raises(CheckpointInvalidError, match=f"1 of its 468 weights .*{re.escape(name)}"):
        load_model("hiera_tiny", path, CPU)
