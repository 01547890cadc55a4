"""A SAM 2 endpoint without a model, as strict as the real one; tests/remote has the real one."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable
from typing import Any

import cv2
import httpx
import numpy as np

from sam2_block.backends.remote.endpoints import Endpoint
from sam2_block.backends.remote.http.client import HttpClient
from sam2_block.backends.remote.http.retry import RetryPolicy
from sam2_block.backends.remote.remote_backend import EMBED_PATH, RemoteBackend, RemoteService
from sam2_block.masks import coco_rle
from sam2_block.settings import RemoteSettings
from tests.unit.remote.scripted_server import Transport

URL = "http://sam2.test"
Spoil = Callable[[httpx.Request], "httpx.Response | None"]


def refuse(status: int, said: Any) -> httpx.Response:
    return httpx.Response(status, json={"message": said})


class FakeEndpoint:
    """Answers a box with the pixels inside it, and points with the pixel of the first.

    Attributes:
        requests: The path and the parsed body of every request, in order of arrival.
        images: What it was sent, by id.
        formats: The formats of masks that it knows.
        spoil: Called with every request first; what it returns is the answer, unless None.
    """

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.images: dict[str, np.ndarray] = {}
        self.formats = ["json", "rle"]
        self.spoil: Spoil = lambda request: None
        self._lock = threading.Lock()

    def backend(self, retry_policy: RetryPolicy | None = None, **settings: Any) -> RemoteBackend:
        """Return a backend that asks this endpoint; it never waits between attempts."""
        chosen = RemoteSettings(**settings)
        client = HttpClient(
            chosen,
            retry_policy=retry_policy,
            transport=Transport(self),
            sleep=lambda seconds: None,
        )
        return RemoteBackend(RemoteService(chosen, client), Endpoint(URL))

    @property
    def uploads(self) -> int:
        return sum(bool(body["image"]["value"]) for _, body in self.requests)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        with self._lock:
            self.requests.append((request.url.path, body))
        spoilt = self.spoil(request)
        if spoilt is not None:
            return spoilt
        if body["image"]["value"]:
            content = np.frombuffer(base64.b64decode(body["image"]["value"]), np.uint8)
            self.images[body["image_id"]] = cv2.imdecode(content, cv2.IMREAD_UNCHANGED)
        elif body["image_id"] not in self.images:
            return refuse(400, "Empty image payload")
        image = self.images[body["image_id"]]
        if request.url.path == EMBED_PATH:
            return httpx.Response(200, json={"image_id": body["image_id"], "time": 0.1})
        return self._segment(image, body)

    def _segment(self, image: np.ndarray, body: dict[str, Any]) -> httpx.Response:
        prompts = body["prompts"]["prompts"]
        assert prompts, "an empty prompt is answered with a mask of something"
        if len({"box" in prompt for prompt in prompts}) > 1:
            return refuse(400, "prompts with and without boxes")
        assert len({len(prompt.get("points", [])) for prompt in prompts}) == 1, "would be padded"
        if body["format"] not in self.formats:
            return refuse(500, f"Invalid format {body['format']}")
        masks = [_mask_of(prompt, image.shape[:2]) for prompt in prompts]
        predictions = [
            {
                "masks": coco_rle(mask > 0) if body["format"] == "rle" else _polygons(mask),
                "confidence": round(float(mask.mean()), 4),
                "format": body["format"],
            }
            for mask in masks
        ]
        return httpx.Response(200, json={"predictions": predictions, "time": 0.1})


def _mask_of(prompt: dict[str, Any], image_hw: tuple[int, ...]) -> np.ndarray:
    mask = np.zeros(image_hw, np.uint8)
    if "box" in prompt:
        box = prompt["box"]
        left, right = box["x"] - box["width"] / 2, box["x"] + box["width"] / 2
        top, bottom = box["y"] - box["height"] / 2, box["y"] + box["height"] / 2
        mask[round(top) : round(bottom), round(left) : round(right)] = 1
        # Parts: a box around points is cut at the first of them.
        for point in prompt.get("points", []):
            mask[:, round(point["x"])] = 0
    else:
        point = prompt["points"][0]
        mask[round(point["y"]), round(point["x"])] = 1
    return mask


def _polygons(mask: np.ndarray) -> list[Any]:
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return [contour[:, 0].tolist() for contour in contours]
