"""The results of one photo: a picture, prompts beside masks, and a JSON file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import supervision as sv

from sam2_block.cli.mask_pictures import mask_pair
from sam2_block.cli.result_folder import ResultFolder
from sam2_block.images import Image
from sam2_block.rows.json_rows import json_rows


def write_masks(
    folder: ResultFolder,
    stem: str,
    photo_bgr: Image,
    prompts: sv.Detections,
    masks: sv.Detections,
    *,
    fields: dict[str, Any] | None = None,
    **points: Any,
) -> tuple[Path, Path]:
    """Write the results of one photo.

    Args:
        folder: The folder for the files.
        stem: Start of their names: `STEM_masks.png` and `STEM.json`.
        photo_bgr: `(H, W, 3)` BGR.
        prompts: Boxes, in pixels of the photo.
        masks: The detections with masks.
        fields: Further fields of the JSON file, in front of the others.
        **points: `points` and `negative_points` of `mask_pair`.

    Returns:
        The paths of the picture and of the JSON file.

    Raises:
        InputError: A file cannot be written.
    """
    picture = mask_pair(photo_bgr, prompts, masks, **points)
    document = {**(fields or {}), **json_rows(masks, (photo_bgr.shape[0], photo_bgr.shape[1]))}
    picture_path = folder.reserve(f"{stem}_masks", ".png")
    json_path = folder.reserve(stem, ".json")
    folder.write(json_path, json.dumps(document, indent=2).encode())
    folder.write(picture_path, cv2.imencode(".png", picture)[1].tobytes())
    return picture_path, json_path
