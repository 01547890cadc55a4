"""Every configuration of Meta's builds, takes its weights strictly and answers a prompt."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sam2_block.backends.local.local_backend import LocalBackend
from sam2_block.backends.local.models.model_loading import load_model
from sam2_block.backends.local.models.model_registry import MODELS
from sam2_block.errors import CheckpointInvalidError
from sam2_block.prompts import Prompt
from sam2_block.sam2.sam2_package import package_folder
from sam2_block.versions import META_RELEASES

TINY = ("hiera_tiny", "sam2.1_hiera_tiny")  # answered in test_parity.py
CPU = torch.device("cpu")


@pytest.mark.slow
@pytest.mark.parametrize("version", [v for v in META_RELEASES if v not in TINY])
def test_answers_one_prompt(version: str, random_checkpoint: Any, cpu_settings: Any) -> None:
    path = random_checkpoint(version)
    image = np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8)
    try:
        (answer,) = LocalBackend(cpu_settings).predict(
            image, [Prompt(box_xyxy=(10, 10, 100, 80))], version=version, multimask_output=True
        )
    finally:
        MODELS.unload()
        path.unlink()  # up to 900 MB
    assert 0 < answer.score < 1
    assert answer.image_hw == (90, 120)


def test_weights_of_another_version_are_refused(random_checkpoint: Any) -> None:
    path = random_checkpoint("hiera_tiny")
    with pytest.raises(
        CheckpointInvalidError, match=r"no_obj_embed_spatial.*like those of hiera_tiny\.$"
    ):
        load_model("sam2.1_hiera_tiny", path, CPU)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>403</html>",  # what a proxy may have put in its place
        b"\x80\x04\x95",  # a pickle that breaks off
    ],
)
@pytest.mark.parametrize("name", ["sam2_hiera_tiny.pt", "demo.safetensors"])
def test_a_damaged_file_is_named(content: bytes, name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(
        CheckpointInvalidError, match=r"not a checkpoint that can be read|is a web page"
    ) as raised:
        load_model("hiera_tiny", path, CPU)
    assert str(path) in str(raised.value)


def test_a_checkpoint_cannot_run_code(tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "ran",))

    path = tmp_path / "sam2_hiera_tiny.pt"
    torch.save({"model": Payload()}, path)
    with pytest.raises(CheckpointInvalidError):
        load_model("hiera_tiny", path, CPU)
    assert not (tmp_path / "ran").exists()


def test_a_configuration_names_only_classes_of_sam2(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "demo.safetensors"
    save_file({"w": torch.zeros(1)}, path, metadata={"config": '{"a": {"_target_": "os.system"}}'})
    with pytest.raises(CheckpointInvalidError, match=r"os\.system"):
        load_model("demo", path, CPU)


def test_a_file_that_cannot_be_read_is_not_called_damaged(tmp_path: Path) -> None:
    with pytest.raises(
        CheckpointInvalidError, match=r"cannot be read \(Is a directory\).*CHECKPOINT_DIR"
    ):
        load_model("hiera_tiny", tmp_path, CPU)


def test_a_missing_package_is_not_blamed_on_the_checkpoint(
    random_checkpoint: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sam2_block.sam2.sam2_package._candidate_folders", lambda: iter(()))
    package_folder.cache_clear()
    with pytest.raises(ModuleNotFoundError, match="rf-sam-2"):
        load_model("hiera_tiny", random_checkpoint("hiera_tiny"), CPU)


def test_a_gpu_that_was_not_chosen_is_left_alone(
    random_checkpoint: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Meta's modules put tensors of their own on the first GPU that PyTorch reports.
    path = random_checkpoint("hiera_tiny")
    started: list[str] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "_lazy_init", lambda: started.append("CUDA"))
    model = load_model("hiera_tiny", path, CPU)
    assert started == []
    assert {tensor.device for tensor in model.state_dict().values()} == {CPU}


def test_loading_does_not_import_pytorchs_compiler() -> None:
    """It takes a second, and initial values on `meta` would bring it in."""
    code = (
        "import sys, numpy as np; from sam2_block import Segmenter;"
        " Segmenter('demo', device='cpu').segment(np.zeros((9, 9, 3), np.uint8), [[1, 1, 8, 8]]);"
        " print('torch._dynamo' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
