"""Run the workflow of a cell on the real engine."""

from __future__ import annotations

import datetime
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import supervision as sv
from roboflow_workflows.core_steps.common.utils import attach_parents_coordinates_to_sv_detections
from roboflow_workflows.execution_engine.core import ExecutionEngine
from roboflow_workflows.execution_engine.entities.base import (
    ImageParentMetadata,
    OriginCoordinatesSystem,
    VideoMetadata,
    WorkflowImageData,
)
from roboflow_workflows.utils.in_memory_cache import InMemoryWorkflowsCache

from sam2_block.blocks.segment import v1
from sam2_block.masks.compact import CompactMasks
from tests.matrix.others import OTHERS
from tests.matrix.scenes import MANY, LabelBackend, Picture

WRITABLE = "{folder for files}"
"""Stands in a definition for a folder that the step may write to."""

Results = list[dict[str, dict[str, Any]]]
"""For each image, by step, by output."""


class Platform:
    """Takes what blocks send to Roboflow, and notes it down."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, dict[str, Any]]] = []

    def get_roboflow_workspace(self, api_key: str) -> str:
        return "workspace"

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def accept(*arguments: Any, **named: Any) -> dict[str, Any]:
            self.sent.append((name, {**dict(enumerate(arguments)), **named}))
            return {"id": "id", "success": True, "eventId": "id"}

        return accept


def compact(detections: sv.Detections) -> None:
    """Hold the masks as `CompactMasks`."""
    shape = detections.mask.shape[1:]
    detections.mask = CompactMasks.from_dense(detections.mask, detections.xyxy, shape)


def filled(detections: sv.Detections) -> None:
    """Fill the boxes, to see by the difference whether the masks are looked at."""
    detections.mask = detections.mask.copy()
    for mask, (left, top, right, bottom) in zip(
        detections.mask, detections.xyxy.astype(int), strict=True
    ):
        mask[top : bottom + 1, left : right + 1] = True


FORMS: dict[str, Callable[[sv.Detections], None] | None] = {
    "dense": None,
    "compact": compact,
    "filled": filled,
}


@contextmanager
def form_of_masks(form: str) -> Iterator[None]:
    """Let our block hand out its masks in another form: changed here, and not in the product."""
    change = FORMS[form]
    complete = v1.complete_detections

    def changed(rows: sv.Detections, image: Any) -> sv.Detections:
        detections = complete(rows, image)
        change(detections)
        return detections

    v1.complete_detections = complete if change is None else changed
    try:
        yield
    finally:
        v1.complete_detections = complete


def run(
    definition: dict[str, Any],
    pictures: Sequence[Picture],
    *,
    form: str = "dense",
    frames: int = 1,
    moves: bool = False,
    serialize: bool = False,
) -> Results:
    """Compile and run; with several frames, the result of the last is returned.

    What the block sent to the platform is added as its output `(sent)`.
    """
    platform = Platform()
    with tempfile.TemporaryDirectory() as folder, form_of_masks(form):
        engine = compile_(definition, platform, folder)
        for frame in range(frames):
            platform.sent.clear()
            is_last = frame == frames - 1
            shown = [
                picture.mirrored() if moves and not is_last else picture for picture in pictures
            ]
            parameters = inputs_of(definition, shown, frame)
            results: Results = engine.run(parameters, serialize_results=serialize)
    for result in results:
        for step, outputs in list(result.items()):
            name, _, output = step.partition(":")
            if output:
                result[name] = {output: result.pop(step)}
            elif isinstance(outputs, list):  # One set of outputs for each crop.
                names = {name: None for one in outputs for name in one}
                result[step] = {name: [one.get(name) for one in outputs] for name in names}
    if platform.sent:
        results[0]["block"]["(sent)"] = list(platform.sent)
    return results


def compile_(
    definition: dict[str, Any], platform: Platform | None = None, folder: str = ""
) -> ExecutionEngine:
    """Return the engine that runs a definition."""
    steps = [
        {name: folder if value == WRITABLE else value for name, value in step.items()}
        for step in definition["steps"]
    ]
    return ExecutionEngine.init(
        {**definition, "steps": steps},
        init_parameters={
            "sam2_block.backend": LabelBackend(),
            "workflows_core.model_manager": None,
            "workflows_core.cache": InMemoryWorkflowsCache(),  # Its own: it counts uploads.
            "workflows_core.api_key": "key",
            "workflows_core.platform_client": platform or Platform(),
            "workflows_core.allow_access_to_file_system": True,
            "workflows_core.allowed_write_directory": None,
        },
    )


def _placed(detections: sv.Detections, index: int) -> sv.Detections:
    """Say where the rows were found, as every detector of the engine does."""
    height, width = detections.metadata["image_dimensions"]
    origin = OriginCoordinatesSystem(0, 0, width, height)
    image = WorkflowImageData(
        # As the engine names the images of its input.
        parent_metadata=ImageParentMetadata(f"image.[{index}]", origin),
        numpy_image=np.zeros((height, width, 3), np.uint8),
    )
    detections.data["image_dimensions"] = np.array([[height, width]] * len(detections))
    return attach_parents_coordinates_to_sv_detections(detections, image)


def inputs_of(
    definition: dict[str, Any], pictures: Sequence[Picture], frame: int
) -> dict[str, Any]:
    videos = [
        VideoMetadata(
            video_identifier=f"video {index}",
            frame_number=frame + 1,
            frame_timestamp=datetime.datetime(2024, 1, 1) + datetime.timedelta(seconds=frame / 10),
            fps=10,
            comes_from_video_file=True,
        )
        for index, _ in enumerate(pictures)
    ]
    values = {
        "image": [
            {"type": "numpy_object", "value": picture.image.copy(), "video_metadata": video}
            for picture, video in zip(pictures, videos, strict=True)
        ],
        "boxes": [_placed(picture.detections(), i) for i, picture in enumerate(pictures)],
        **{
            name: [_placed(rows(picture), i) for i, picture in enumerate(pictures)]
            for name, rows in OTHERS.items()
        },
        "video_metadata": videos,
        "model_output": [MODEL_OUTPUT] * len(pictures),
        "model_id": "project/1",
        "template": np.ascontiguousarray(MANY.image[60:100, 20:60]),
    }
    return {declared["name"]: values[declared["name"]] for declared in definition["inputs"]}


MODEL_OUTPUT = (
    '{"detections": [{"class_name": "bar", "x_min": 0.2, "y_min": 0.3, "x_max": 0.8,'
    ' "y_max": 0.9, "confidence": 0.5}]}'
)
