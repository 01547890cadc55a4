"""The remote backend: uploads an image once, and sends chunks of its prompts in parallel."""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sam2_block import process_state
from sam2_block.backends.protocol import ReadyPrediction
from sam2_block.backends.remote.endpoints import Endpoint
from sam2_block.backends.remote.expiring_semaphore import ExpiringSemaphore
from sam2_block.backends.remote.http.bodies import SMALL_RESPONSE, ResponseLimits
from sam2_block.backends.remote.http.client import HttpClient
from sam2_block.backends.remote.http.failures import check_deadline, may_refuse_format
from sam2_block.backends.remote.http.retry import Deadline
from sam2_block.backends.remote.recent_keys import RecentKeys
from sam2_block.backends.remote.wire import (
    ImageFormat,
    chunks,
    parse_response,
    prompt_json,
    response_limits,
)
from sam2_block.backends.remote.workers import run_with_deadline
from sam2_block.errors import RemoteError, RemoteResponseError, RemoteStatusError
from sam2_block.images import Image
from sam2_block.out_of_memory import converting_mask_memory_errors
from sam2_block.prompts import Prompt
from sam2_block.settings import RemoteSettings
from sam2_block.versions import check_remote_version

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

EMBED_PATH, SEGMENT_PATH = "/sam2/embed_image", "/sam2/segment_image"

# The server makes three float masks per prompt at the size of the image, all at once.
_SERVER_BYTES_PER_PIXEL = 12
_MAX_SERVER_BYTES = 512 * 1024**2
_MAX_PROMPTS = 64

# Maximum number of images, and of servers, to remember. A dropped one costs one request.
_MAX_REMEMBERED = 1000

# How long no RLE is requested from a server that refused it: it may be updated or replaced.
_POLYGONS_ONLY_S = 600.0

# Statuses that do not depend on the image's id.
_REFUSED_KEY_OR_RATE = (401, 403, 429)


@dataclass(frozen=True)
class _Upload:
    """One image to send: its id, its pixels, their encoding, and the deadline."""

    version: str
    image_id: str
    image: Image
    image_format: ImageFormat
    deadline: Deadline
    is_shared: bool = False  # by several requests

    @property
    def image_hw(self) -> tuple[int, int]:
        """Height and width of the image."""
        return (self.image.shape[0], self.image.shape[1])

    def id_fields(self) -> dict[str, Any]:
        """Return the fields that every request on this image has.

        The version is always included: servers and clients have different default versions.
        """
        return {"sam2_version_id": self.version, "image_id": self.image_id}


class RemoteService:
    """State shared by all requests of one process: connections, limits, and facts about servers.

    Args:
        settings: The operator's settings.
        client: Sends the requests; by default over the network.
    """

    def __init__(self, settings: RemoteSettings, client: HttpClient | None = None) -> None:
        self.settings = settings
        self._lock = threading.RLock()
        self._given_client = client
        self._client: HttpClient | None = client or HttpClient(settings)
        process_state.register(self)
        self.image_format = ImageFormat.of(settings)
        self.known_images = RecentKeys(_MAX_REMEMBERED)
        self.embed_permits = ExpiringSemaphore(1)
        self.with_rle = RecentKeys(_MAX_REMEMBERED)
        self.without_rle = RecentKeys(_MAX_REMEMBERED, _POLYGONS_ONLY_S)

    @property
    def client(self) -> HttpClient:
        """The HTTP client; in a forked child, created for the first request."""
        with self._lock:
            if self._client is None:
                self._client = HttpClient(self.settings)
            return self._client

    def reset_after_fork(self) -> None:
        """Drop the parent's client without closing its connections."""
        self._lock = threading.RLock()
        self._client = self._given_client

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()


class RemoteBackend:
    """Runs SAM 2 on a server. Thread-safe.

    Args:
        service: State shared by all requests of the process.
        endpoint: The server and the key.
    """

    def __init__(self, service: RemoteService, endpoint: Endpoint) -> None:
        self._service = service
        self._endpoint = endpoint

    @property
    def concurrent_images(self) -> int:
        """Maximum number of concurrent requests: one image is encoded while another is sent."""
        return self._service.settings.max_concurrent_requests

    @converting_mask_memory_errors()
    def predict(
        self, image: Image, prompts: Sequence[Prompt], *, version: str, multimask_output: bool
    ) -> list[ReadyPrediction]:
        """Predict a mask for every prompt; see `Backend.predict`."""
        height, width = image.shape[:2]
        max_prompts = max(1, _MAX_SERVER_BYTES // (height * width * _SERVER_BYTES_PER_PIXEL))
        groups = list(chunks(prompts, min(max_prompts, _MAX_PROMPTS)))
        upload = self._upload(image, version, is_shared=len(groups) > 1)
        if upload.is_shared:
            # A single request includes the image; several requests share one upload.
            self._run([functools.partial(self._embed, upload)], upload.deadline)
        calls = [
            functools.partial(self._segment, upload, prompts, group, multimask_output)
            for group in groups
        ]
        parts = self._run(calls, upload.deadline)
        predictions: dict[int, ReadyPrediction] = {}
        for group, part in zip(groups, parts, strict=True):
            predictions.update(zip(group, part, strict=True))
        return [predictions[index] for index in range(len(prompts))]

    def load(self, version: str) -> None:
        """Do nothing: the server loads its models itself."""
        check_remote_version(version)

    @converting_mask_memory_errors()
    def embed(self, image: Image, *, version: str) -> None:
        """Have the server encode an image; see `Backend.embed`."""
        upload = self._upload(image, version)
        self._run([functools.partial(self._embed, upload)], upload.deadline)

    def _upload(self, image: Image, version: str, is_shared: bool = False) -> _Upload:
        version = check_remote_version(version)
        deadline = Deadline(self._service.settings.deadline_s)
        formats = self._service.image_format
        return _Upload(version, formats.image_id(image), image, formats, deadline, is_shared)

    def _key(self, upload: _Upload) -> tuple[str, ...]:
        return (self._endpoint.url, upload.version, upload.image_id)

    def _image_json(self, upload: _Upload) -> dict[str, str]:
        """Return the image in the endpoint's format; encoded here, only when it must be sent."""
        check_deadline(self._endpoint.url, upload.deadline)
        return {"type": "base64", "value": upload.image_format.encode(upload.image)}

    def _post(
        self,
        path: str,
        payload: dict[str, Any],
        upload: _Upload,
        limits: ResponseLimits = SMALL_RESPONSE,
        max_attempts: int | None = None,
    ) -> Any:
        return self._service.client.post(
            self._endpoint,
            path,
            payload,
            upload.deadline,
            limits=limits,
            max_attempts=max_attempts,
        )

    def _run(self, calls: Sequence[Callable[[], Result]], deadline: Deadline) -> list[Result]:
        return run_with_deadline(calls, self.concurrent_images, deadline, self._endpoint.url)

    def _embed(self, upload: _Upload) -> None:
        """Upload the image unless the server knows it; concurrent callers wait for one upload."""
        key = self._key(upload)
        # One permit per API key: a refused key must not affect callers with another key.
        permit_key = (*key, self._endpoint.api_key)
        with self._service.embed_permits.acquire(permit_key, upload.deadline):
            if key in self._service.known_images:
                return
            payload = {**upload.id_fields(), "image": self._image_json(upload)}
            response = self._post(EMBED_PATH, payload, upload)
            if not isinstance(response, dict) or response.get("image_id") != upload.image_id:
                raise RemoteResponseError(
                    f"{self._endpoint.url} did not confirm the `image_id` of the image it embedded."
                )
            self._service.known_images.add(key)

    def _segment(
        self, upload: _Upload, prompts: Sequence[Prompt], group: list[int], multimask_output: bool
    ) -> list[ReadyPrediction]:
        """Predict masks for one group of prompts, given by their indices."""
        payload = {
            **upload.id_fields(),
            "prompts": {"prompts": [prompt_json(prompts[index]) for index in group]},
            "multimask_output": multimask_output,
        }
        try:
            response = self._send_in_known_format(upload, payload)
        except RemoteStatusError as error:
            if error.prompt_index is None or error.prompt_index >= len(group):
                raise
            index = group[error.prompt_index]
            raise _with_prompt(error, index, prompts[index]) from None
        url = self._endpoint.url
        try:
            return parse_response(
                response, len(group), upload.image_hw, lambda: check_deadline(url, upload.deadline)
            )
        except RemoteResponseError as error:
            raise RemoteResponseError(f"{url} sent {error}.") from None

    def _send_in_known_format(self, upload: _Upload, payload: dict[str, Any]) -> Any:
        """Request RLE, or polygons from a server that does not support RLE.

        A server older than RLE refuses the format, or fails without a reason. In the latter case
        polygons are requested, and then RLE once more: the failure may have been temporary.
        """
        url, service = self._endpoint.url, self._service
        in_rle, in_polygons = {**payload, "format": "rle"}, {**payload, "format": "json"}
        if url in service.without_rle:
            return self._send(upload, in_polygons)
        try:
            response = self._send(upload, in_rle)
        except RemoteStatusError as error:
            if url in service.with_rle or not may_refuse_format(error):
                raise
            try:
                polygons = self._send(upload, in_polygons)
            except RemoteError:
                raise error from None
            response = None if error.refuses_format else self._send_again(upload, in_rle)
            if response is None:
                logger.warning("%s does not support RLE: masks are polygons, without holes", url)
                service.without_rle.add(url)
                return polygons
        service.with_rle.add(url)
        return response

    def _send_again(self, upload: _Upload, payload: dict[str, Any]) -> Any:
        try:
            return self._send(upload, payload)
        except RemoteError:
            return None

    def _send(self, upload: _Upload, payload: dict[str, Any]) -> Any:
        """Send a request with the image's id alone if the server knows it, else with the image."""
        key = self._key(upload)
        max_attempts = None
        if key in self._service.known_images:
            by_id = self._send_by_id(upload, payload)
            if by_id.is_unknown and upload.is_shared:
                self._embed(upload)
                by_id = self._send_by_id(upload, payload)
            if by_id.response is not None:
                return by_id.response
            max_attempts = None if by_id.is_unknown else 1
        with_image = {**payload, "image": self._image_json(upload)}
        response = self._segment_request(upload, with_image, max_attempts)
        self._service.known_images.add(key)
        return response

    def _send_by_id(self, upload: _Upload, payload: dict[str, Any]) -> _ByIdResult:
        """Send a request without the image.

        Raises:
            RemoteError: Sending the image would not help: the key or the rate was refused, or the
                deadline has passed.
        """
        # The endpoint requires an image, but accepts an empty one if it knows the id.
        by_id = {**payload, "image": {"type": "base64", "value": ""}}
        try:
            return _ByIdResult(response=self._segment_request(upload, by_id))
        except RemoteError as error:
            # A timeout raised because no time is left for a retry has the refusal as its cause.
            statuses = {getattr(e, "status", None) for e in (error, error.__cause__)}
            if not statuses.isdisjoint(_REFUSED_KEY_OR_RATE) or upload.deadline.remaining_s() == 0:
                raise
            # The server has dropped the image, or this is another one of several servers.
            self._service.known_images.discard(self._key(upload))
            return _ByIdResult(is_unknown=400 in statuses)

    def _segment_request(
        self, upload: _Upload, payload: dict[str, Any], max_attempts: int | None = None
    ) -> Any:
        limits = response_limits(len(payload["prompts"]["prompts"]), upload.image_hw)
        return self._post(SEGMENT_PATH, payload, upload, limits, max_attempts)


def _with_prompt(error: RemoteStatusError, index: int, prompt: Prompt) -> RemoteStatusError:
    """Return an error that names the prompt by its index in the image."""
    named = error.with_context(f"That is prompt {index} of the image, {prompt}.")
    named.prompt_index = index
    return named


@dataclass(frozen=True)
class _ByIdResult:
    """The result of a request without the image.

    Attributes:
        response: The parsed response, or None if the request failed.
        is_unknown: Whether the server does not know the image, which it reports by status 400.
    """

    response: Any = None
    is_unknown: bool = False


def shared_service(settings: RemoteSettings, user: object = None) -> RemoteService:
    """Return the process-wide service: steps share its connections, whichever server they use.

    Args:
        settings: The operator's settings.
        user: See `process_state.SharedObjects.get`.
    """
    return process_state.SHARED.get(("remote", settings), lambda: RemoteService(settings), user)
