"""What goes over the wire: prompts and images in requests, masks and scores in responses.

The endpoint's box has its CENTRE at `x`, `y`; everything is in absolute pixels.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sam2_block.backends.protocol import ReadyPrediction
from sam2_block.backends.remote.http.bodies import ResponseLimits
from sam2_block.errors import ImageError, RemoteAnswerError
from sam2_block.images import Image, content_key
from sam2_block.masks import BoolArray, CroppedMask
from sam2_block.masks.rle_decoding import decode_coco_rle, max_rle_characters
from sam2_block.prompts import Prompt
from sam2_block.settings import RemoteSettings

_ENVELOPE_BYTES = 64 * 1024
_POINT_BYTES = 48  # of two numbers with all their digits


@dataclass(frozen=True)
class ImageFormat:
    """How images are encoded for the wire.

    Attributes:
        png_max_pixels: Images of at most so many pixels go as PNG, which loses nothing; larger
            ones as JPEG. None: all go as PNG.
        jpeg_quality: 1 to 100.
        swap_channels: Send red and blue in each other's place, for a server that swaps them.
    """

    png_max_pixels: int | None = None
    jpeg_quality: int = 95
    swap_channels: bool = False

    @classmethod
    def of(cls, settings: RemoteSettings) -> ImageFormat:
        """Return what the operator chose."""
        png_max_pixels = {"png": None, "jpeg": 0, "auto": 2048 * 2048}[settings.upload_format]
        return cls(png_max_pixels, swap_channels=settings.swap_channels)

    def image_id(self, image: Image) -> str:
        """Name an image by its content and its encoding: the same for whoever sends the same."""
        digest = hashlib.blake2b(repr((content_key(image), self)).encode(), digest_size=16)
        return f"sam2_block-{digest.hexdigest()}"

    def encode(self, image: Image) -> str:
        """Encode an image, `(H, W, 3)` BGR or `(H, W)` grey, as base64 text of a PNG or JPEG."""
        if image.ndim == 3 and self.swap_channels:
            image = image[..., ::-1]
        pixels = np.ascontiguousarray(image)
        count = pixels.shape[0] * pixels.shape[1]
        if self.png_max_pixels is None or count <= self.png_max_pixels:
            # The fastest compression: the time goes into the wire, not into a smaller file.
            done, content = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])
        else:
            quality = [cv2.IMWRITE_JPEG_QUALITY, self.jpeg_quality]
            done, content = cv2.imencode(".jpg", pixels, quality)
        if not done:
            raise ImageError(f"an image of shape {image.shape} cannot be sent as PNG or JPEG.")
        return base64.b64encode(content.tobytes()).decode("ascii")


def prompt_json(prompt: Prompt) -> dict[str, Any]:
    """Return a prompt as the endpoint takes it."""
    wire: dict[str, Any] = {}
    if prompt.box_xyxy is not None:
        left, top, right, bottom = prompt.box_xyxy
        wire["box"] = {
            "x": (left + right) / 2,
            "y": (top + bottom) / 2,
            "width": right - left,
            "height": bottom - top,
        }
    if prompt.points:
        wire["points"] = [
            {"x": point.x, "y": point.y, "positive": point.positive} for point in prompt.points
        ]
    return wire


def chunks(prompts: Sequence[Prompt], max_prompts: int) -> Iterator[list[int]]:
    """Group the indices of prompts that one request can hold, at most `max_prompts`.

    A request cannot mix prompts with and without a box, and the server pads those with fewer
    points, which changes their masks: a chunk holds prompts of one form only.
    """
    by_form = defaultdict(list)
    for index, prompt in enumerate(prompts):
        by_form[prompt.box_xyxy is not None, len(prompt.points)].append(index)
    for indices in by_form.values():
        for start in range(0, len(indices), max_prompts):
            yield indices[start : start + max_prompts]


def response_limits(count: int, image_hw: tuple[int, int]) -> ResponseLimits:
    """Return the most that the masks of some prompts may take as JSON.

    Args:
        count: Number of prompts in the request.
        image_hw: Height and width of the image.
    """
    # A backslash of the RLE's text is two in JSON; a point is two numbers and their brackets.
    rle_bytes, points = 2 * max_rle_characters(image_hw), _max_points(image_hw)
    mask_bytes = max(rle_bytes, _POINT_BYTES * points)
    return ResponseLimits(
        max_bytes=_ENVELOPE_BYTES + count * (mask_bytes + _ENVELOPE_BYTES // 64),
        max_values=count * (2 * points + 1000) + 1000,
    )


def _max_points(image_hw: tuple[int, int]) -> int:
    """Return the most points that the polygons of one mask may have.

    The outline of SAM 2's masks is a few times the length of the image's border; there is room for
    tens of times, but not for more than four points a pixel.
    """
    height, width = image_hw
    return min(4 * height * width, 64 * (height + width)) + 64


def parse_answer(
    answer: Any,
    count: int,
    image_hw: tuple[int, int],
    check: Callable[[], None] = lambda: None,
) -> list[ReadyPrediction]:
    """Parse the response to one request; strict: anything missing or malformed raises.

    Args:
        answer: The parsed JSON.
        count: Number of prompts in the request.
        image_hw: Height and width of the image.
        check: Called before each mask is decoded; raises to stop.

    Raises:
        RemoteAnswerError: The answer is not what the endpoint promises. The message begins with
            what was sent in its place.
    """
    predictions = answer.get("predictions") if isinstance(answer, dict) else None
    if not isinstance(predictions, list):
        raise RemoteAnswerError("an answer without a list `predictions`")
    if len(predictions) != count:
        raise RemoteAnswerError(f"{len(predictions)} predictions for {count} prompts")
    parsed = []
    for index, item in enumerate(predictions):
        check()
        parsed.append(_parse_prediction(item, index, image_hw))
    return parsed


def _parse_prediction(item: Any, index: int, image_hw: tuple[int, int]) -> ReadyPrediction:
    if not isinstance(item, dict) or "masks" not in item or "confidence" not in item:
        raise RemoteAnswerError(f"prediction {index} without `masks` and `confidence`")
    score = item["confidence"]
    if isinstance(score, bool) or not isinstance(score, (int, float)):
        raise RemoteAnswerError(f"prediction {index} with a confidence that is no number")
    if not 0 <= score <= 1:
        raise RemoteAnswerError(f"prediction {index} with the confidence {str(score)[:40]!r}")
    try:
        mask = _decode_masks(item["masks"], image_hw)
    except (ValueError, cv2.error) as error:
        raise RemoteAnswerError(
            f"prediction {index} with a mask that cannot be decoded: {error}"
        ) from error
    return ReadyPrediction(float(score), CroppedMask.from_region(mask).detached())


def _decode_masks(masks: Any, image_hw: tuple[int, int]) -> BoolArray:
    """Decode COCO RLE, or polygons, one a connected part: all of them are one object."""
    if not isinstance(masks, list):
        return decode_coco_rle(masks, image_hw)
    if sum(len(polygon) for polygon in masks if isinstance(polygon, list)) > _max_points(image_hw):
        raise ValueError("polygons of far too many points")
    canvas = np.zeros(image_hw, dtype=np.uint8)
    for polygon in masks:
        points = _points(polygon)
        if (points < 0).any() or (points > image_hw[::-1]).any():
            raise ValueError("a polygon that leaves the image")
        if len(points) > 0:
            cv2.fillPoly(canvas, [points.round().astype(np.int32)], 1)
    return canvas.astype(np.bool_)


def _points(polygon: Any) -> NDArray[np.float64]:
    """Return a polygon as `(N, 2)`; numpy's own error would show what the server sent."""
    points = None
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        points = np.asarray(polygon, dtype=np.float64)
    if points is not None and points.shape == (0,):
        points = points.reshape(0, 2)
    if points is None or points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all():
        raise ValueError("a polygon that is not a list of points")
    if not all(type(value) in (int, float) for point in polygon for value in point):
        raise ValueError("a polygon with coordinates that are not numbers")  # numpy reads text too
    return points
