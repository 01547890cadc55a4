"""From an image, boxes and points to detections with masks: the whole step, without the engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import supervision as sv
from numpy.typing import NDArray

from sam2_block import process_state
from sam2_block.backends.base import Backend, MaskPrediction
from sam2_block.backends.source import BackendSource
from sam2_block.columns import SAM2_SCORE
from sam2_block.detections import prompt_rows, read_rows, rows_of_classes
from sam2_block.errors import ClosedError, InputError, OptionError
from sam2_block.images import Image, as_image
from sam2_block.mask_arrays import MaskArray
from sam2_block.masks import EMPTY_MASK
from sam2_block.option_checks import (
    check_class_filter,
    check_multimask_output,
    check_threshold,
)
from sam2_block.out_of_memory import naming_mask_memory_errors
from sam2_block.prompt_limits import PromptLimits
from sam2_block.prompts import (
    InvalidBoxes,
    Prompt,
    clipped_box,
    prompts_from_boxes,
    prompts_from_points,
)
from sam2_block.settings import DEFAULT_DENSE_MASK_BYTES, MaskForm
from sam2_block.shares import warn_of_shares
from sam2_block.short_repr import short_repr
from sam2_block.versions import DEFAULT, check_allowed_version, check_remote_version, check_version

if TYPE_CHECKING:
    from typing_extensions import Self

ConfidenceSource = Literal["detector", "sam"]
DEFAULT_LIMITS = PromptLimits()


@dataclass(frozen=True)
class SegmentOptions:
    """How to segment; the fields are those of the block `sam2_block/segment@v1`.

    Attributes:
        version: One of `sam2_block.versions.NAMES`.
        threshold: Least predicted quality of a mask, 0 to 1; rows below it are left out.
        multimask_output: Let SAM 2 propose three masks and take the best, or one.
        class_filter: Names of the classes to segment, other detections being dropped; None or
            empty for all.
        confidence_source: Whether `confidence` is SAM's predicted quality or the detector's.
        invalid_boxes: Whether a box that is not finite, or has no area in the image, gives an
            empty mask (`empty`), no row (`drop`) or an error.

    Raises:
        OptionError: A value is outside its range.
    """

    version: str = DEFAULT
    threshold: float = 0.0
    multimask_output: bool = True
    class_filter: Sequence[str] | None = None
    confidence_source: ConfidenceSource = "sam"
    invalid_boxes: InvalidBoxes = "empty"

    def __post_init__(self) -> None:
        check_version(self.version)
        check_threshold(self.threshold)
        check_multimask_output(self.multimask_output)
        if self.class_filter is not None:
            check_class_filter(self.class_filter)
        for name, allowed in (
            ("confidence_source", get_args(ConfidenceSource)),
            ("invalid_boxes", get_args(InvalidBoxes)),
        ):
            if getattr(self, name) not in allowed:
                raise OptionError(
                    f"{name}: expected {' or '.join(map(repr, allowed))};"
                    f" got {short_repr(getattr(self, name))}."
                )


class Segmenter:
    """Turns boxes and points into masks, for programs that do not use the Workflows engine.

    Thread-safe. It can be copied, pickled, and used in a forked process. A copy reads the settings
    anew, from the environment that it is first used in. A pickle holds the version, the `api_url`
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
        self._open(backend if isinstance(backend, BackendSource) else BackendSource(given=backend))

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
                dedicated deployment; by default what the environment says.
            api_key: A key of Roboflow's; by default `ROBOFLOW_API_KEY`. It is sent to `api_url`,
                and never part of a pickle: there, the environment's key is used.
            masks: See `Segmenter`.

        Raises:
            Sam2BlockError: The version is not offered, or the URL cannot be used.
        """
        source = BackendSource("remote", api_url, api_key)
        return cls(check_remote_version(version), backend=source, masks=masks)

    def _open(self, source: BackendSource) -> None:
        """Get the backend.

        Raises:
            Sam2BlockError: The settings cannot be used, or do not allow the version.
        """
        self._source = source
        self._user = _User()
        settings = source.settings()
        if self._own_masks is not None:
            settings = settings.override(masks=self._own_masks)
        check_allowed_version(self.version, settings.allowed_versions)
        self._dense_mask_bytes = settings.dense_mask_bytes
        self._masks: MaskForm = settings.masks
        self._limits = PromptLimits.of(settings)
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
        """End the use of the model, or of the connections; further calls are refused.

        Models, embeddings and connections belong to the process. They are freed when their last
        segmenter is closed, unless a step of a workflow has used them: steps share them for as
        long as the process lives. A backend that was given is left open. Calls under way in other
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
        own = ("_backend", "_user", "_dense_mask_bytes", "_masks", "_limits")
        return {name: value for name, value in vars(self).items() if name not in own}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._user = _User()
        # Later: an error while a task is unpickled ends a worker of `multiprocessing` silently.
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
            points: One flat list for one object, or one list an object; see
                `sam2_block.prompts.parse_point_objects`.
            threshold: This and what follows: see `SegmentOptions`.
            multimask_output: See `SegmentOptions`.
            class_filter: See `SegmentOptions`.
            confidence_source: See `SegmentOptions`.
            invalid_boxes: See `SegmentOptions`.

        Returns:
            One row a box, then one row a point object; see `segment_image`.

        Raises:
            Sam2BlockError: The request, the settings or the checkpoint cannot be used.
        """
        options = SegmentOptions(
            self.version,
            threshold,
            multimask_output,
            class_filter,
            confidence_source,
            invalid_boxes,
        )
        backend = self.backend
        try:
            return segment_image(
                backend,
                image_bgr,
                detections,
                points,
                options,
                dense_mask_bytes=self._dense_mask_bytes,
                masks=self._masks,
                limits=self._limits,
            )
        except Exception as error:
            if self._is_closed and not isinstance(error, InputError):
                raise ClosedError("this Segmenter was closed during the call.") from error
            raise


class _User:
    """Stands for a segmenter among the users of what a process shares; gone when it is."""


@naming_mask_memory_errors()
def segment_image(
    backend: Backend,
    image: Any,
    detections: sv.Detections | None,
    points: Any,
    options: SegmentOptions,
    *,
    dense_mask_bytes: int = DEFAULT_DENSE_MASK_BYTES,
    masks: MaskForm = "auto",
    limits: PromptLimits = DEFAULT_LIMITS,
) -> sv.Detections:
    """Segment the objects in boxes and at points of one image.

    Every box is one object, and every point list another. N prompts give N rows, in order, boxes
    first; only `threshold`, `class_filter` and `invalid_boxes: drop` leave rows out.

    Args:
        backend: Where SAM 2 runs. It is not called where there is nothing to ask.
        image: As `sam2_block.images.as_image` takes it.
        detections: Boxes in pixels of the image; nothing of them is changed.
        points: As `sam2_block.prompts.parse_point_objects` takes them.
        options: How to segment.
        dense_mask_bytes: Most bytes that `mask` may take as a dense array under `auto`.
        masks: Form of `mask`; see `Segmenter`.
        limits: How many boxes and points are taken.

    Returns:
        Detections with `mask` (`(N, H, W)`, a bool array or `CompactMasks`, which read like one),
        `xyxy` (the tight box of the mask, or where that is empty the prompt's box inside the
        image),
        `confidence`, and the columns of `detections.prompt_rows` and `sam2_score` (float).

    Raises:
        Sam2BlockError: The request, the settings or the checkpoint cannot be used.
    """
    image = as_image(image)
    detections = read_rows(sv.Detections.empty() if detections is None else detections)
    image_hw = (image.shape[0], image.shape[1])
    kept_boxes = rows_of_classes(detections, options.class_filter)
    limits.check(len(kept_boxes), points)
    by_box = prompts_from_boxes(detections.xyxy, image_hw, options.invalid_boxes, kept_boxes)
    if options.invalid_boxes == "drop":
        kept_boxes = kept_boxes[[prompt is not None for prompt in by_box]]
        by_box = [prompt for prompt in by_box if prompt is not None]
    by_points = prompts_from_points(points, image_hw)
    prompts = [*by_box, *by_points]
    warn_of_shares(prompts, image_hw)
    # Before anything is computed that would be lost if there is no memory for them.
    array = MaskArray(len(prompts), image_hw, dense_mask_bytes, masks)
    answers = _ask(backend, image, prompts, options)
    scores = np.array([answer.score if answer else 0.0 for answer in answers], dtype=np.float32)
    kept = np.flatnonzero(scores >= np.float32(options.threshold))
    of_points = [prompt.extent_xyxy for prompt in by_points]
    rows: sv.Detections = prompt_rows(detections, kept_boxes, of_points)[kept]
    extents = [*(clipped_box(box, image_hw) for box in detections.xyxy[kept_boxes]), *of_points]
    rows.data[SAM2_SCORE] = scores[kept]
    rows.confidence = _confidence(rows.confidence, scores[kept], options.confidence_source)
    # One mask at a time: no other stands at the image's size.
    for row, index in enumerate(kept):
        answer = answers[index]
        mask = answer.mask() if answer else EMPTY_MASK
        array.append(mask)
        rows.xyxy[row] = extents[index] if mask.is_empty else mask.box_xyxy
    rows.mask = array.get()
    return rows


def _ask(
    backend: Backend, image: Image, prompts: Sequence[Prompt | None], options: SegmentOptions
) -> list[MaskPrediction | None]:
    """Return one answer a prompt; None where the prompt is None."""
    asked = [index for index, prompt in enumerate(prompts) if prompt is not None]
    answers: list[MaskPrediction | None] = [None] * len(prompts)
    if asked:
        predictions = backend.predict(
            image,
            [prompt for prompt in prompts if prompt is not None],
            version=options.version,
            multimask_output=bool(options.multimask_output),
        )
        for index, prediction in zip(asked, predictions, strict=True):
            answers[index] = prediction
    return answers


def _confidence(
    of_detector: NDArray[np.float32], of_sam: NDArray[np.float32], source: ConfidenceSource
) -> NDArray[np.float32]:
    """Choose the confidence; an object that no detector gave one to has SAM's."""
    if source == "sam":
        return of_sam.copy()
    return np.where(np.isnan(of_detector), of_sam, of_detector).astype(np.float32)
