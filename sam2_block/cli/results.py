"""Write what a workflow returns: images as PNG, everything else as JSON."""

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

    Results of earlier runs are replaced, and no other file.

    Args:
        folder: Made if it is not there.
        inputs: Files that this run reads; they are not replaced, even where they are results.

    Raises:
        InputError: The folder cannot be made or used.
    """

    def __init__(self, folder: Path, inputs: Iterable[Path] = ()) -> None:
        self._folder = ResultFolder(folder, inputs)

    @property
    def kept(self) -> list[str]:
        """Names of files in the folder that are no results, and were in the way of some."""
        return self._folder.kept

    @property
    def outdated(self) -> list[str]:
        """Names of results of earlier runs, of the same images, that this run did not replace."""
        return self._folder.outdated()

    def write(self, image_path: Path, outputs: dict[str, Any]) -> list[Path]:
        """Write the outputs of one image.

        Args:
            image_path: The image that went in; its name without suffix starts each file's name.
            outputs: Values of the workflow's outputs, by name.

        Returns:
            The files: PNG images in the order of the outputs, then the JSON file, in which an
            image stands as the name of its file.

        Raises:
            InputError: A file cannot be written.
        """
        json_path = self._folder.reserve(image_path.stem, ".json")
        written: list[Path] = []
        document = {
            "image": _text(str(image_path)),
            "outputs": self._plain(outputs, [json_path.stem], written),
        }
        text = json.dumps(document, indent=2, allow_nan=False)
        self._folder.write(json_path, text.encode())
        return [*written, json_path]

    def _plain(self, value: Any, place: list[str], written: list[Path]) -> Any:
        """Turn a value into what JSON can hold, writing the images in it.

        Args:
            value: An output, or a part of one.
            place: The image's name, the output's name and the keys down to the value.
            written: Image files are added to it.
        """
        from roboflow_workflows.execution_engine.entities.base import WorkflowImageData

        name = ".".join(place[1:])
        if isinstance(value, WorkflowImageData):
            path = self._folder.reserve("_".join(place), ".png")
            self._folder.write(path, _png(value.numpy_image, name))
            written.append(path)
            return path.name
        if isinstance(value, sv.Detections):
            value = _serialised(value, name)
        if isinstance(value, dict):
            return {
                _text(str(key)): self._plain(item, [*place, str(key)], written)
                for key, item in value.items()
            }
        if isinstance(value, (list, tuple, set, frozenset)):
            return [
                self._plain(item, [*place, str(index)], written) for index, item in enumerate(value)
            ]
        if isinstance(value, np.ndarray):
            return self._plain(value.tolist(), place, written)
        if callable(getattr(value, "model_dump", None)):
            return self._plain(value.model_dump(), place, written)
        return _scalar(value)


def _serialised(detections: sv.Detections, name: str) -> Any:
    """Return detections as JSON can hold them.

    Raises:
        InputError: The detections of the output `name` lack what the engine needs.
    """
    try:
        return _as_the_engine(detections)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise InputError(
            f"output {name!r}: expected detections with confidence, class_id, class_name and"
            f" detection_id; they cannot be written ({type(error).__name__}: {error})."
        ) from error


def _as_the_engine(detections: sv.Detections) -> Any:
    """Return detections as the engine's own responses hold them; masks of SAM 2 lose nothing."""
    from roboflow_workflows.core_steps.common.serializers import (
        serialise_rle_sv_detections,
        serialise_sv_detections,
    )

    from sam2_block.blocks.engine.kinds import serialise_predictions

    if detections.mask is not None and {SAM2_SCORE, PROMPT_DETECTION_ID} <= detections.data.keys():
        # Made of the masks, which a block behind `segment` may have changed.
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
    """Return text that every reader of JSON takes: undecodable bytes of a file name are none."""
    return text.encode("utf-8", "backslashreplace").decode()


def _png(pixels: Any, name: str) -> bytes:
    import cv2

    fractions = pixels.dtype.kind == "f" and pixels.size and pixels.min() >= 0 and pixels.max() <= 1
    if pixels.dtype == bool or fractions:  # OpenCV refuses the former and makes the latter black
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
