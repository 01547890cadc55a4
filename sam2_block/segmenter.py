"""SAM 2 for programs that do not use the Workflows engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

import numpy as np
import supervision as sv
from numpy.typing import NDArray

from sam2_block import process_state
from sam2_block.backends.protocol import Backend
from sam2_block.backends.source import BackendSource
from sam2_block.concurrent_map import stream_concurrently
from sam2_block.errors import ClosedError, InputError, OptionError
from sam2_block.images import as_image
from sam2_block.segment_options import ConfidenceSource, InvalidBoxes, SegmentOptions
from sam2_block.segmentation import segment_image
from sam2_block.settings import MaskForm
from sam2_block.versions import DEFAULT, check_allowed_version, check_remote_version, check_version

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

Result = TypeVar("Result")


class SegmentKeywords(TypedDict, total=False):
    """The keyword arguments of `Segmenter.segment`; see `SegmentOptions`."""

    threshold: float
    multimask_output: bool
    class_filter: Sequence[str] | None
    confidence_source: ConfidenceSource
    invalid_boxes: InvalidBoxes


class Segmenter:
    """Turns boxes and points into masks, for programs that do not use the Workflows engine.

    Thread-safe. It can be copied, pickled, and used in a forked process. A copy reads the settings
    again, from the environment in which it is first used. A pickle holds the version, the `api_url`
    and the backend that were given, and never a key: see `Segmenter.remote`. Close it, or use it
    as a context manager, to free what nothing else uses.

    Args:
        version: One of `sam2_block.versions.NAMES`.
        backend: Where SAM 2 runs; by default in this process, with the operator's settings. For a
            server see `Segmenter.remote`.
        masks: `dense` (always a NumPy array), `compact` (always `sv.CompactMask`) or `auto` (dense
            unless that would be large); by default `SAM2_BLOCK_MASKS`.

    Example:
        >>> from sam2_block.backends.fake import FakeBackend
        >>> segmenter = Segmenter("demo", backend=FakeBackend())
        >>> photo = np.zeros((100, 200, 3), np.uint8)
        >>> boxes = sv.Detections(xyxy=np.array([[10.0, 20.0, 30.0, 60.0]]))
        >>> segmenter.segment(photo, boxes).mask.shape
        (1, 100, 200)
    """

    def __init__(
        self,
        version: str = DEFAULT,
        *,
        backend: Backend | BackendSource | None = None,
        masks: MaskForm | None = None,
    ) -> None:
        self.version = check_version(version)
        self._own_masks = masks
        self._is_closed = False
        self._open(
            backend if isinstance(backend, BackendSource) else BackendSource(backend=backend)
        )

    @classmethod
    def remote(
        cls,
        version: str = DEFAULT,
        *,
        api_url: str | None = None,
        api_key: str | None = None,
        masks: MaskForm | None = None,
    ) -> Self:
        """Make a segmenter that runs SAM 2 on a server.

        Args:
            version: One of `sam2_block.versions.REMOTE_NAMES`.
            api_url: `https://serverless.roboflow.com`, `http://localhost:9001`, or the URL of a
                dedicated deployment; by default the environment's.
            api_key: A key of Roboflow's; by default `ROBOFLOW_API_KEY`. It is sent only to
                `api_url` and never pickled; after unpickling, the environment's key is used.
            masks: See `Segmenter`.

        Raises:
            Sam2BlockError: The version is not offered, or the URL cannot be used.
        """
        source = BackendSource("remote", api_url, api_key)
        return cls(check_remote_version(version), backend=source, masks=masks)

    def _open(self, source: BackendSource) -> None:
        """Read the settings and open the backend.

        Raises:
            Sam2BlockError: The settings cannot be used, or do not allow the version.
        """
        self._source = source
        self._user = _User()
        settings = source.settings()
        if self._own_masks is not None:
            settings = settings.override(masks=self._own_masks)
        check_allowed_version(self.version, settings.access.allowed_versions)
        self._output, self._limits = settings.output, settings.limits
        self._backend: Backend | None = source.open(settings, self._user)

    @property
    def backend(self) -> Backend:
        """Where SAM 2 runs.

        Raises:
            ClosedError: The segmenter is closed.
            Sam2BlockError: It was unpickled here, and the settings of this process cannot be used.
        """
        if self._is_closed:
            raise ClosedError("this Segmenter is closed; make another one.")
        if self._backend is None:
            self._open(self._source)
        assert self._backend is not None
        return self._backend

    def close(self) -> None:
        """Release the model or the connections; further calls raise `ClosedError`.

        Models, embeddings and connections belong to the process. They are freed when their last
        segmenter is closed, unless a step of a workflow has used them: steps share them for as
        long as the process lives. A backend that was given is left open. Calls running in other
        threads may fail. Closing twice does nothing.
        """
        if not self._is_closed:
            self._is_closed = True
            self._backend = None
            process_state.SHARED.release(self._user)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __copy__(self) -> Self:
        copied = type(self).__new__(type(self))
        copied.__setstate__(vars(self))
        return copied

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self.__copy__()

    def __getstate__(self) -> dict[str, Any]:
        excluded = ("_backend", "_user", "_output", "_limits")
        return {name: value for name, value in vars(self).items() if name not in excluded}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._user = _User()
        # Opened on first use: an error while unpickling silently ends a `multiprocessing` worker.
        self._backend = None

    def segment(
        self,
        image_bgr: NDArray[np.uint8],
        detections: sv.Detections | None = None,
        points: Any = None,
        *,
        threshold: float = 0.0,
        multimask_output: bool = True,
        class_filter: Sequence[str] | None = None,
        confidence_source: ConfidenceSource = "sam",
        invalid_boxes: InvalidBoxes = "empty",
    ) -> sv.Detections:
        """Segment the objects in boxes and at points of one image.

        Args:
            image_bgr: `uint8`, `(H, W, 3)` BGR, `(H, W, 4)` BGRA or `(H, W)` grey.
            detections: Each box is one object.
            points: One flat list for one object, or one list per object; see
                `sam2_block.prompts.parse_point_objects`.
            threshold: See `SegmentOptions`.
            multimask_output: See `SegmentOptions`.
            class_filter: See `SegmentOptions`.
            confidence_source: See `SegmentOptions`.
            invalid_boxes: See `SegmentOptions`.

        Returns:
            One row per box, then one per object given by points; see `segment_image`.

        Raises:
            Sam2BlockError: The request, the settings or the checkpoint cannot be used.
        """
        options = SegmentOptions(
            version=self.version,
            threshold=threshold,
            multimask_output=multimask_output,
            class_filter=class_filter,
            confidence_source=confidence_source,
            invalid_boxes=invalid_boxes,
        )
        return self._while_open(
            lambda backend: segment_image(
                backend,
                image_bgr,
                detections,
                points,
                options,
                output=self._output,
                limits=self._limits,
            )
        )

    def segment_many(
        self, requests: Iterable[tuple[Any, ...]], **options: Unpack[SegmentKeywords]
    ) -> Iterator[sv.Detections]:
        """Segment a stream of images, of any length, in bounded memory.

        The next request is taken while the images before it are segmented, so a generator can read
        image files or run a detector meanwhile.

        Args:
            requests: For each image the arguments of `segment`: `(image_bgr, detections)`, or
                `(image_bgr, detections, points)`.
            **options: The keyword arguments of `segment`, the same for all images.

        Returns:
            An iterator over the detections of each image, in order. If an image cannot be
            segmented, its error is raised in its turn and ends the iteration.

        Raises:
            Sam2BlockError: This segmenter is closed.

        Example:
            >>> from sam2_block.backends.fake import FakeBackend
            >>> segmenter = Segmenter("demo", backend=FakeBackend())
            >>> boxes = sv.Detections(xyxy=np.array([[10.0, 20.0, 30.0, 60.0]]))
            >>> photos = (np.zeros((100, 200, 3), np.uint8) for _ in range(3))
            >>> many = segmenter.segment_many((photo, boxes) for photo in photos)
            >>> [objects.mask.shape for objects in many]
            [(1, 100, 200), (1, 100, 200), (1, 100, 200)]
        """

        def segment(request: tuple[Any, ...]) -> sv.Detections:
            if not isinstance(request, tuple) or not 1 <= len(request) <= 3:
                raise OptionError(
                    "requests: expected (image_bgr, detections) or (image_bgr, detections, points)"
                    f" for each image; got {type(request).__name__}."
                )
            return self.segment(*request, **options)

        # At least two: in this process one is prepared, or pasted, while the other is computed.
        return stream_concurrently(segment, requests, max(2, self.backend.concurrent_images))

    def embed(self, image_bgr: NDArray[np.uint8]) -> None:
        """Encode an image ahead of its prompts, so that `segment` only has to decode them.

        Args:
            image_bgr: As `segment` takes it. Its embedding is found by the image's pixels, for as
                long as the cache holds it.

        Raises:
            Sam2BlockError: The image, the settings or the checkpoint cannot be used.
        """
        image = as_image(image_bgr)
        self._while_open(lambda backend: backend.embed(image, version=self.version))

    def _while_open(self, call: Callable[[Backend], Result]) -> Result:
        """Call a function with the backend.

        Raises:
            ClosedError: The segmenter is closed, or was closed during the call.
        """
        backend = self.backend
        try:
            return call(backend)
        except Exception as error:
            if self._is_closed and not isinstance(error, InputError):
                raise ClosedError("this Segmenter was closed during the call.") from error
            raise


class _User:
    """Identifies a segmenter as a user of shared objects; collected with the segmenter."""
