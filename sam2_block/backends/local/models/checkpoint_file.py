"""Read a checkpoint file safely: it can neither run code nor unpack to more than its own size."""

from __future__ import annotations

import json
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import torch

from sam2_block.backends.local.model_memory_errors import is_memory_error
from sam2_block.compute.explicit_creation import CPU, CreateOn

_SIGNATURES = {
    b"version https://git-lfs": "a Git LFS pointer (`git lfs pull` fetches the file)",
    b"<!doctype": "a web page",
    b"<html": "a web page",
}
_ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


class UnusableFileError(Exception):
    """A checkpoint file cannot be used; the message continues a sentence after the path."""


def read_checkpoint(path: Path) -> tuple[dict[str, Any] | None, Any]:
    """Read a checkpoint onto the CPU.

    Args:
        path: A `.safetensors` file that holds its own configuration, or a file that `torch.save`
            wrote.

    Returns:
        The model's configuration (None for a file of `torch.save`) and the content: tensors in
        plain containers.

    Raises:
        UnusableFileError: The file cannot be read, holds anything else, or is damaged.
    """
    try:
        with CreateOn(CPU):  # readers create tensors with functions that other libraries patch
            if path.suffix == ".safetensors":
                return _read_safetensors(path)
            return None, _read_pt(path)
    except UnusableFileError:
        raise
    except OSError as error:
        raise UnusableFileError(
            f"cannot be read ({error.strerror or brief(error)}). It is in the folder"
            " SAM2_BLOCK_CHECKPOINT_DIR or in the cache of the Hugging Face Hub."
        ) from error
    except Exception as error:
        if is_memory_error(error):
            raise
        # Damaged files make the readers raise many types of error (pickle, zip, JSON, key).
        raise UnusableFileError(
            f"is not a checkpoint that can be read ({type(error).__name__}: {brief(error)}). If it"
            " is a download of Meta's checkpoint, delete it and fetch it again."
        ) from error


def brief(error: Exception) -> str:
    """Return an error's first two lines, without terminal codes and PyTorch's own advice."""
    lines = [line.strip() for line in _ESCAPES.sub("", str(error)).splitlines()]
    lines = [line for line in lines if line and "weights_only" not in line]
    return printable(" ".join(lines[:2]), 200) or "no message"


def printable(text: str, length: int = 60) -> str:
    """Return text of an untrusted file in a form that is safe in a message."""
    text = "".join(char if char.isprintable() else "?" for char in text)
    return text if len(text) <= length else text[: length - 3] + "..."


def _read_pt(path: Path) -> Any:
    is_archive = zipfile.is_zipfile(path)
    if is_archive:
        _check_archive(path)
    else:
        _check_beginning(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # PyTorch names the first object that is neither a tensor nor a plain container.
        global_name = re.search(r"GLOBAL ([\w.]+)", str(error))
        if not is_archive and not global_name:
            raise
        detail = f" ({printable(global_name[1])})" if global_name else ""
        raise UnusableFileError(
            f"holds Python objects{detail} besides its weights. Only tensors in plain containers"
            " are loaded, since anything else could run code. Save only the weights:"
            " torch.save({'model': model.state_dict()}, path)."
        ) from error


def _check_beginning(path: Path) -> None:
    """Recognise other types of file that often have a checkpoint's name."""
    with path.open("rb") as file:
        beginning = file.read(200)
    for signature, description in _SIGNATURES.items():
        if beginning.lstrip().lower().startswith(signature):
            raise UnusableFileError(f"is {description}. Put the checkpoint itself in its place.")


def _check_archive(path: Path) -> None:
    """Reject an archive that is damaged, or unpacks to more than its file's size.

    PyTorch stores records uncompressed. With compressed or overlapping records, even a small file
    could fill the memory.
    """
    with zipfile.ZipFile(path) as archive:
        _check_size(archive.infolist(), path.stat().st_size)
        # PyTorch itself ignores checksums that do not match, and a single flipped bit can ruin
        # every mask.
        try:
            damaged = archive.testzip()
        except zipfile.BadZipFile:
            damaged = "an entry in its index"
    if damaged:
        raise UnusableFileError(
            f"is damaged: {printable(damaged)} does not match its checksum. Use another copy; or,"
            " if it was saved under torch.serialization.set_crc32_options(False), save it again"
            " without that."
        )


def _check_size(entries: list[zipfile.ZipInfo], size: int) -> None:
    if any(entry.filename.endswith("/constants.pkl") for entry in entries):
        raise UnusableFileError("is a TorchScript program; expected a state dict.")
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > size:
        raise UnusableFileError(
            f"would unpack to {unpacked} bytes from {size}. PyTorch writes checkpoints"
            " uncompressed: save it again with torch.save."
        )


def _read_safetensors(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    from safetensors import safe_open

    # The library checks every size in the header against the file's size.
    with safe_open(path, framework="pt") as file:
        config = json.loads(file.metadata()["config"])
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    return config, weights
