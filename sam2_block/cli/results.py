"""Writing of a workflow's outputs: images as PNG, everything else as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import supervision as sv

from sam2_block.cli.result_folder import ResultFolder
from sam2_block.errors import InputError
from sam2_block.json_values import json_value
from sam2_block.rows.columns import PROMPT_DETECTION_ID, RLE_MASK, SAM2_SCORE


class ResultWriter:
    """Writes the results of any number of images into one folder.

    Only results of earlier runs are replaced.

    Args:
        folder: The folder; created if it does not exist.
        inputs: Files that this run reads; they are not replaced, even if they are results.

    Raises:
        InputError: The folder cannot be created or used.
    """

    def __init__(self, folder: Path, inputs: Iterable[Path] = ()) -> None:
        self._folder = ResultFolder(folder, inputs)

    @property
    def protected(self) -> list[str]:
        """Names that results could not use, since those files must not be replaced."""
        return self._folder.protected

    @property
    def outdated(self) -> list[str]:
        """Names of earlier results for the same images that this run did not replace."""
        return self._folder.outdated()

    def write(self, image_path: Path, outputs: dict[str, Any]) -> list[Path]:
        """Write the outputs of one image.

        Args:
            image_path: The input image; its name without suffix starts each file's name.
            outputs: Values of the workflow's outputs, by name.

        Returns:
            The files: PNG images in the order of the outputs, then the JSON file, which holds the
            file name of each image.

        Raises:
            InputError: A file cannot be written.
        """
        json_path = self._folder.reserve(image_path.stem, ".json")
        written: list[Path] = []
        document = {
            "image": _text(str(image_path)),
            "outputs": self._to_json(outputs, [json_path.stem], written),
        }
        text = json.dumps(document, indent=2, allow_nan=False)
        self._folder.write(json_path, text.encode())
        return [*written, json_path]

    def _to_json(self, value: Any, key_path: list[str], written: list[Path]) -> Any:
        """Convert a value to JSON types, and write the images in it to files.

        Args:
            value: An output, or a part of one.
            key_path: The image's name, the output's name and the keys that lead to the value.
            written: The list that image files are appended to.
        """
        from roboflow_workflows.execution_engine.entities.base import WorkflowImageData

        name = ".".join(key_path[1:])
        if isinstance(value, WorkflowImageData):
            path = self._folder.reserve("_".join(key_path), ".png")
            self._folder.write(path, _png(value.numpy_image, name))
            written.append(path)
            return path.name
        if isinstance(value, sv.Detections):
            value = _serialised(value, name)
        if isinstance(value, dict):
            return {
                _text(str(key)): self._to_json(item, [*key_path, str(key)], written)
                for key, item in value.items()
            }
        if isinstance(value, (list, tuple, set, frozenset)):
            return [
                self._to_json(item, [*key_path, str(index)], written)
                for index, item in enumerate(value)
            ]
        if isinstance(value, np.ndarray):
            return self._to_json(value.tolist(), key_path, written)
        if callable(getattr(value, "model_dump", None)):
            return self._to_json(value.model_dump(), key_path, written)
        return _scalar(value)


def _serialised(detections: sv.Detections, name: str) -> Any:
    """Return detections as JSON types.

    Raises:
        InputError: The detections of the output `name` lack what the engine needs.
    """
    try:
        return _as_engine_response(detections)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise InputError(
            f"output {name!r}: expected detections with confidence, class_id, class_name and"
            f" detection_id; they cannot be written ({type(error).__name__}: {error})."
        ) from error


def _as_engine_response(detections: sv.Detections) -> Any:
    """Return detections as in the engine's own responses; masks of SAM 2 are lossless."""
    from roboflow_workflows.core_steps.common.serializers import (
        serialise_rle_sv_detections,
        serialise_sv_detections,
    )

    from sam2_block.blocks.engine.kinds import serialise_predictions

    if detections.mask is not None and {SAM2_SCORE, PROMPT_DETECTION_ID} <= detections.data.keys():
        # The RLE is encoded from the masks, which a downstream block may have changed.
        return serialise_predictions(detections)
    if RLE_MASK in detections.data:
        return serialise_rle_sv_detections(detections)
    return serialise_sv_detections(detections)


def _scalar(value: Any) -> Any:
    value = json_value(value)
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return value.isoformat() if isinstance(value, date) else _text(str(value))


def _text(text: str) -> str:
    """Escape undecodable bytes, as of a file name, which not every reader of JSON accepts."""
    return text.encode("utf-8", "backslashreplace").decode()


def _png(pixels: Any, name: str) -> bytes:
    import cv2

    fractions = pixels.dtype.kind == "f" and pixels.size and pixels.min() >= 0 and pixels.max() <= 1
    # OpenCV rejects the former and writes the latter as black.
    if pixels.dtype == bool or fractions:
        pixels = np.rint(pixels * 255.0).astype(np.uint8)
    try:
        encoded, content = cv2.imencode(".png", pixels)
    except cv2.error:
        encoded = False
    if not encoded:
        raise InputError(
            f"output {name!r}: expected an image with 1, 3 or 4 channels of 8 or 16 bits; got"
            f" {pixels.dtype} in shape {pixels.shape}, which PNG cannot hold."
        )
    return bytes(content)
