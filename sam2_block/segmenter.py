"""SAM 2 for programs that do not use the Workflows engine."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import supervision as sv

from sam2_block import process_state
from sam2_block.backends.protocol import Backend
from sam2_block.backends.source import BackendSource
from sam2_block.concurrent_map import stream_concurrently
from sam2_block.errors import ClosedError, InputError, OptionError, PromptError
from sam2_block.images.image_inputs import ColorOrder, ImageInput, to_bgr
from sam2_block.prompts.doubtful_boxes import doubts_about_boxes
from sam2_block.prompts.points import PointsInput
from sam2_block.rows.box_inputs import BoxesInput, as_detections
from sam2_block.segment_options import (
    ConfidenceSource,
    InvalidBoxes,
    SegmentKeywords,
    SegmentOptions,
)
from sam2_block.segmentation import segment_image
from sam2_block.settings import MaskForm
from sam2_block.versions import (
    DEFAULT,
    DEMO,
    check_allowed_version,
    check_remote_version,
    check_version,
)

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

Result = TypeVar("Result")

_DEMO_WARNING = (
    "SAM 2 version 'demo' is a small model for demos and tests, not for real work: use 'hiera_tiny'"
    " or larger."
)


class Segmenter:
    """Turns boxes and points into masks, for programs that do not use the Workflows engine.

    Thread-safe. It can be copied, pickled, and used in a forked process. A copy reads the settings
    again, from the environment in which it is first used. A pickle holds the version, the `api_url`
    and the backend that were given, and never a key: see `Segmenter.remote`. Close it, or use it
    as a context manager, to free what nothing else uses.

    Args:
        version: One of `sam2_block.versions.NAMES`.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`; by default `SAM2_BLOCK_DEVICE`.
        checkpoint: A file with your own weights for the architecture of `version`: Meta's format,
            or what a training script saved. By default Meta's weights, downloaded once.
        backend: Where SAM 2 runs instead of in this process, such as a `FakeBackend`. For a server
            see `Segmenter.remote`.
        masks: `dense` (always a NumPy array), `compact` (always `sv.CompactMask`) or `auto` (dense
            unless that would be large); by default `SAM2_BLOCK_MASKS`.

    Raises:
        Sam2BlockError: The version, the device, the checkpoint file or a setting cannot be used.

    Example:
        >>> from sam2_block.backends.fake import FakeBackend
        >>> segmenter = Segmenter("demo", backend=FakeBackend())
        >>> photo = np.zeros((100, 200, 3), np.uint8)
        >>> segmenter.segment(photo, boxes=[[10, 20, 30, 60]]).mask.shape
        (1, 100, 200)
    """

    def __init__(
        self,
        version: str = DEFAULT,
        *,
        device: str | None = None,
        checkpoint: str | Path | None = None,
        backend: Backend | BackendSource | None = None,
        masks: MaskForm | None = None,
    ) -> None:
        self.version = check_version(version)
        self._own_masks = masks
        self._is_closed = False
        if backend is not None and (device is not None or checkpoint is not None):
            raise OptionError("device, checkpoint: have no effect where a backend is given.")
        source = (
            backend
            if isinstance(backend, BackendSource)
            else BackendSource(
                backend=backend,
                device=device,
                checkpoint=None if checkpoint is None else str(checkpoint),
            )
        )
        self._open(source)
        if self.version == DEMO and backend is None and checkpoint is None:
            warnings.warn(_DEMO_WARNING, stacklevel=2)

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

    def __repr__(self) -> str:
        state = " (closed)" if self._is_closed else ""
        return f"<Segmenter {self.version}, {self._source.description()}{state}>"

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

    def preload(self) -> None:
        """Load the model now, so that the first call does not wait for it.

        Raises:
            Sam2BlockError: The weights cannot be downloaded or used.
        """
        self._while_open(lambda backend: backend.load(self.version))

    def segment(
        self,
        image: ImageInput,
        boxes: BoxesInput = None,
        points: PointsInput = None,
        *,
        detections: sv.Detections | None = None,
        color: ColorOrder = "bgr",
        threshold: float = 0.0,
        multimask_output: bool = True,
        class_filter: Sequence[str] | None = None,
        confidence_source: ConfidenceSource = "sam",
        invalid_boxes: InvalidBoxes = "empty",
    ) -> sv.Detections:
        """Segment the objects in boxes and at points of one image.

        Args:
            image: A path; a `PIL.Image.Image`; a `uint8` array `(H, W, 3)`, `(H, W, 4)` or
                `(H, W)`; or a `uint8` tensor `(C, H, W)` or `(H, W, C)`.
            boxes: `sv.Detections`, or numbers of shape `(N, 4)`: left, top, right and bottom in
                pixels. Each box is one object.
            points: `(x, y)` or `(x, y, positive)` in pixels. A flat list is one object, a list of
                lists is one object per list. Boxes and points are separate objects.
            detections: Another name of `boxes`.
            color: Order of the channels of an array or a tensor, `bgr` (as `cv2.imread` returns it)
                or `rgb`.
            threshold: Minimum predicted quality of a mask, 0 to 1; rows below it are left out.
            multimask_output: Whether SAM 2 proposes three masks, of which the best is selected, or
                one.
            class_filter: Names of the classes to segment; other boxes are dropped. None or empty
                for all.
            confidence_source: Whether `confidence` of the result is SAM's predicted quality (`sam`)
                or the detector's (`detector`).
            invalid_boxes: For a box that is not finite or has no area in the image: a row with an
                empty mask (`empty`), no row (`drop`), or an error (`error`).

        Returns:
            One row per box, then one per object given by points, in order: `mask` `(N, H, W)`,
            `xyxy` (the tight box of the mask), `confidence`, `class_id`, `class_name`,
            `sam2_score`, and the further columns of `boxes`; see `segment_image`.

        Raises:
            Sam2BlockError: The image, the prompts, the settings or the checkpoint cannot be used.

        Example:
            >>> from sam2_block.backends.fake import FakeBackend
            >>> segmenter = Segmenter("demo", backend=FakeBackend())
            >>> photo_rgb = np.zeros((100, 200, 3), np.uint8)
            >>> objects = segmenter.segment(photo_rgb, points=[[50, 60]], color="rgb")
            >>> objects["class_name"].tolist()
            ['foreground']
        """
        if boxes is not None and detections is not None:
            raise OptionError("boxes, detections: these are two names of one argument; give one.")
        rows = as_detections(boxes if detections is None else detections)
        if rows is None and points is None:
            raise PromptError("no prompt: give boxes or points.")
        options = SegmentOptions(
            version=self.version,
            threshold=threshold,
            multimask_output=multimask_output,
            class_filter=class_filter,
            confidence_source=confidence_source,
            invalid_boxes=invalid_boxes,
        )
        pixels = to_bgr(image, color)
        if rows is not None:
            for doubt in doubts_about_boxes(rows, class_filter, (pixels.shape[0], pixels.shape[1])):
                warnings.warn(doubt, stacklevel=2)
        return self._while_open(
            lambda backend: segment_image(
                backend,
                pixels,
                rows,
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
            requests: For each image the arguments of `segment`: `(image, boxes)`, or
                `(image, boxes, points)`.
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
                    "requests: expected (image, boxes) or (image, boxes, points)"
                    f" for each image; got {type(request).__name__}."
                )
            return self.segment(*request, **options)

        # At least two: in this process one is prepared, or pasted, while the other is computed.
        return stream_concurrently(segment, requests, max(2, self.backend.concurrent_images))

    def embed(self, image: ImageInput, *, color: ColorOrder = "bgr") -> None:
        """Encode an image ahead of its prompts, so that `segment` only has to decode them.

        Args:
            image: As `segment` takes it. Its embedding is found by the image's pixels, for as
                long as the cache holds it.
            color: Order of the channels of an array or a tensor.

        Raises:
            Sam2BlockError: The image, the settings or the checkpoint cannot be used.
        """
        pixels = to_bgr(image, color)
        self._while_open(lambda backend: backend.embed(pixels, version=self.version))

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
