"""The wire format: prompts and images in requests, masks and scores in responses.

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
from sam2_block.errors import ImageError, RemoteResponseError
from sam2_block.images import Image, content_key
from sam2_block.masks import BoolArray, CroppedMask
from sam2_block.masks.rle_decoding import decode_coco_rle, max_rle_characters
from sam2_block.prompts import Prompt
from sam2_block.settings import RemoteSettings

_PNG_MAX_PIXELS = 2048 * 2048  # of upload format `auto`
_ENVELOPE_BYTES = 64 * 1024
_POINT_BYTES = 48  # two numbers with all their digits


@dataclass(frozen=True)
class ImageFormat:
    """How images are encoded for the wire.

    Attributes:
        png_max_pixels: Images of at most this many pixels are sent as PNG, which is lossless;
            larger ones as JPEG. None: all are sent as PNG.
        jpeg_quality: 1 to 100.
        swap_channels: Swap red and blue, for a server that swaps them too.
    """

    png_max_pixels: int | None = None
    jpeg_quality: int = 95
    swap_channels: bool = False

    @classmethod
    def of(cls, settings: RemoteSettings) -> ImageFormat:
        """Return the format that the operator's settings select."""
        png_max_pixels = {"png": None, "jpeg": 0, "auto": _PNG_MAX_PIXELS}[settings.upload_format]
        return cls(png_max_pixels, swap_channels=settings.swap_channels)

    def image_id(self, image: Image) -> str:
        """Return an id of the image's content and encoding: equal images have equal ids."""
        digest = hashlib.blake2b(repr((content_key(image), self)).encode(), digest_size=16)
        return f"sam2_block-{digest.hexdigest()}"

    def encode(self, image: Image) -> str:
        """Encode an image, `(H, W, 3)` BGR or `(H, W)` grey, as base64 text of a PNG or JPEG."""
        if image.ndim == 3 and self.swap_channels:
            image = image[..., ::-1]
        pixels = np.ascontiguousarray(image)
        count = pixels.shape[0] * pixels.shape[1]
        if self.png_max_pixels is None or count <= self.png_max_pixels:
            # The fastest compression: time is better spent on the transfer than on a smaller file.
            done, content = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])
        else:
            quality = [cv2.IMWRITE_JPEG_QUALITY, self.jpeg_quality]
            done, content = cv2.imencode(".jpg", pixels, quality)
        if not done:
            raise ImageError(f"an image of shape {image.shape} cannot be sent as PNG or JPEG.")
        return base64.b64encode(content.tobytes()).decode("ascii")


def prompt_json(prompt: Prompt) -> dict[str, Any]:
    """Return a prompt in the endpoint's format."""
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
    """Group the indices of prompts into chunks, one per request, of at most `max_prompts`.

    A request cannot mix prompts with and without a box. The server pads prompts that have fewer
    points, which changes their masks. So the prompts of a chunk all have the same form.
    """
    by_form = defaultdict(list)
    for index, prompt in enumerate(prompts):
        by_form[prompt.box_xyxy is not None, len(prompt.points)].append(index)
    for indices in by_form.values():
        for start in range(0, len(indices), max_prompts):
            yield indices[start : start + max_prompts]


def response_limits(count: int, image_hw: tuple[int, int]) -> ResponseLimits:
    """Return the maximum size of a response with the masks of some prompts.

    Args:
        count: Number of prompts in the request.
        image_hw: Height and width of the image.
    """
    # JSON doubles each backslash of the RLE text; a point has two numbers and two brackets.
    rle_bytes, points = 2 * max_rle_characters(image_hw), _max_points(image_hw)
    mask_bytes = max(rle_bytes, _POINT_BYTES * points)
    return ResponseLimits(
        max_bytes=_ENVELOPE_BYTES + count * (mask_bytes + _ENVELOPE_BYTES // 64),
        max_values=count * (2 * points + 1000) + 1000,
    )


def _max_points(image_hw: tuple[int, int]) -> int:
    """Return the maximum number of points in the polygons of one mask.

    The outline of a SAM 2 mask is a few times as long as the image's border. The limit allows tens
    of times that border, but at most four points per pixel.
    """
    height, width = image_hw
    return min(4 * height * width, 64 * (height + width)) + 64


def parse_response(
    response: Any,
    count: int,
    image_hw: tuple[int, int],
    check: Callable[[], None] = lambda: None,
) -> list[ReadyPrediction]:
    """Parse the response to one request; strict: anything missing or malformed raises.

    Args:
        response: The parsed JSON.
        count: Number of prompts in the request.
        image_hw: Height and width of the image.
        check: Called before each mask is decoded; raises to stop.

    Raises:
        RemoteResponseError: The response is not in the endpoint's format. The message begins with
            what was sent instead.
    """
    predictions = response.get("predictions") if isinstance(response, dict) else None
    if not isinstance(predictions, list):
        raise RemoteResponseError("a response without a list `predictions`")
    if len(predictions) != count:
        raise RemoteResponseError(f"{len(predictions)} predictions for {count} prompts")
    parsed = []
    for index, item in enumerate(predictions):
        check()
        parsed.append(_parse_prediction(item, index, image_hw))
    return parsed


def _parse_prediction(item: Any, index: int, image_hw: tuple[int, int]) -> ReadyPrediction:
    if not isinstance(item, dict) or "masks" not in item or "confidence" not in item:
        raise RemoteResponseError(f"prediction {index} without `masks` and `confidence`")
    score = item["confidence"]
    if isinstance(score, bool) or not isinstance(score, (int, float)):
        raise RemoteResponseError(f"prediction {index} with a confidence that is not a number")
    if not 0 <= score <= 1:
        raise RemoteResponseError(f"prediction {index} with the confidence {str(score)[:40]!r}")
    try:
        mask = _decode_masks(item["masks"], image_hw)
    except (ValueError, cv2.error) as error:
        raise RemoteResponseError(
            f"prediction {index} with a mask that cannot be decoded: {error}"
        ) from error
    return ReadyPrediction(float(score), CroppedMask.from_region(mask).detached())


def _decode_masks(masks: Any, image_hw: tuple[int, int]) -> BoolArray:
    """Decode COCO RLE, or polygons: one per connected part, all of the same object."""
    if not isinstance(masks, list):
        return decode_coco_rle(masks, image_hw)
    if sum(len(polygon) for polygon in masks if isinstance(polygon, list)) > _max_points(image_hw):
        raise ValueError("polygons with far too many points")
    canvas = np.zeros(image_hw, dtype=np.uint8)
    for polygon in masks:
        points = _points(polygon)
        if (points < 0).any() or (points > image_hw[::-1]).any():
            raise ValueError("a polygon that extends outside the image")
        if len(points) > 0:
            cv2.fillPoly(canvas, [points.round().astype(np.int32)], 1)
    return canvas.astype(np.bool_)


def _points(polygon: Any) -> NDArray[np.float64]:
    """Return a polygon as `(N, 2)`, without numpy's errors, which show what the server sent."""
    points = None
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        points = np.asarray(polygon, dtype=np.float64)
    if points is not None and points.shape == (0,):
        points = points.reshape(0, 2)
    if points is None or points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all():
        raise ValueError("a polygon that is not a list of points")
    if not all(type(value) in (int, float) for point in polygon for value in point):
        raise ValueError("a polygon with coordinates that are not numbers")  # numpy parses text too
    return points
