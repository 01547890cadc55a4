"""What `sam2_block/segment@v1` takes, gives and declares."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from roboflow_workflows.execution_engine.entities.base import (
    OutputDefinition,
)
from roboflow_workflows.execution_engine.entities.types import (
    BOOLEAN_KIND,
    FLOAT_KIND,
    FLOAT_ZERO_TO_ONE_KIND,
    INSTANCE_SEGMENTATION_PREDICTION_KIND,
    KEYPOINT_DETECTION_PREDICTION_KIND,
    LABELED_POINTS_KIND,
    LIST_OF_VALUES_KIND,
    OBJECT_DETECTION_PREDICTION_KIND,
    RLE_INSTANCE_SEGMENTATION_PREDICTION_KIND,
    Selector,
)

from sam2_block.blocks.engine.kinds import PREDICTIONS_KIND
from sam2_block.blocks.manifest import (
    ApiKey,
    ApiUrl,
    ExecutionMode,
    Images,
    Sam2Manifest,
    Version,
    api_key_field,
    api_url_field,
    execution_mode_field,
    images_field,
    manifest_config,
    type_field,
    version_field,
)
from sam2_block.blocks.relevance import relevant_with
from sam2_block.blocks.unknown_fields import refuse_unknown_fields
from sam2_block.prompts import parse_point_objects, points_as_list
from sam2_block.segment_options import (
    ConfidenceSource,
    InvalidBoxes,
    check_class_filter,
    check_multimask_output,
    check_threshold,
)

SHORT_DESCRIPTION = "Turn a detector's boxes, or points, into masks with SAM 2."

LONG_DESCRIPTION = """
Run Meta's SAM 2, in this process or on a server, and get one mask for every box and for every list
of points.

Connect the predictions of any detection model to **boxes**. Each box gives exactly one row, in the
same order, with its class, its `tracker_id` and its other columns; a mask in several parts, or
with holes, stays one row. An image without detections gives an empty result.

Replace `roboflow_core/segment_anything@v1` by this type: the fields of that block mean the same
here.

The version `demo` is small, built in, and meant for demos and tests. The others are Meta's own;
their weights are fetched once from the Hugging Face Hub, or read from a folder of the server's
operator. On a server, choose **execution mode** `remote`: the image is sent once, and the answer is
the same (up to the colours of today's servers: see the README).
"""

BOXES_KINDS = [
    OBJECT_DETECTION_PREDICTION_KIND,
    INSTANCE_SEGMENTATION_PREDICTION_KIND,
    RLE_INSTANCE_SEGMENTATION_PREDICTION_KIND,
    KEYPOINT_DETECTION_PREDICTION_KIND,
]
_WITH_BOXES = relevant_with("boxes", BOXES_KINDS)


class SegmentManifestV1(Sam2Manifest):
    """Inputs and outputs of `sam2_block/segment@v1`."""

    model_config = manifest_config(
        name="SAM 2 Segment",
        short_description=SHORT_DESCRIPTION,
        long_description=LONG_DESCRIPTION,
        search_keywords=["mask", "instance segmentation", "box prompt", "point prompt"],
        priority=9.4,
    )

    # In each union the literal form comes first: the engine shows the first part's error. Its own
    # check holds literals and the values of inputs to the rule of `SegmentOptions`.
    type: Literal["sam2_block/segment@v1"] = type_field("sam2_block/segment@v1")
    images: Images = images_field()
    boxes: Selector(kind=BOXES_KINDS) | None = Field(
        default=None,
        title="Boxes",
        description="Predictions of another model on the same image: every box becomes one mask.",
        examples=["$steps.object_detection_model.predictions"],
        json_schema_extra={"always_visible": True},
    )
    points: (
        Annotated[list[Any], BeforeValidator(points_as_list)]
        | Selector(kind=[LABELED_POINTS_KIND, LIST_OF_VALUES_KIND])
        | None
    ) = Field(
        default=None,
        title="Points",
        description="Points in absolute pixels: one flat list for one object, or a list of lists,"
        " one an object. A point is {x, y, positive} or (x, y[, positive]); a negative point marks"
        " what is not part of the object.",
        examples=[
            [{"x": 300, "y": 250, "positive": True}],
            [[[300, 250], [320, 260, False]], [[80, 40]]],
            "$inputs.points",
        ],
        json_schema_extra={"always_visible": True},
    )
    version: Version = version_field()
    threshold: Annotated[float, Field(ge=0, le=1), BeforeValidator(check_threshold)] | Selector(
        kind=[FLOAT_ZERO_TO_ONE_KIND, FLOAT_KIND]
    ) = Field(
        default=0.0,
        title="Threshold",
        description="Least quality that SAM 2 predicts for a mask, 0 to 1; masks below it are left"
        " out.",
        examples=[0.3, "$inputs.threshold"],
    )
    multimask_output: (
        Annotated[bool, BeforeValidator(check_multimask_output)]
        | Selector(kind=[BOOLEAN_KIND])
        | None
    ) = Field(
        default=True,
        title="Multimask Output",
        description="Let SAM 2 propose three masks for each prompt and take the best of them."
        " Recommended for ambiguous prompts, such as a single point.",
        examples=[True, "$inputs.multimask_output"],
    )
    class_filter: (
        Annotated[list[str], BeforeValidator(check_class_filter)]
        | Selector(kind=[LIST_OF_VALUES_KIND])
        | None
    ) = Field(
        default=None,
        title="Class Filter",
        description="Names of the classes to segment; boxes of other classes are dropped. Without"
        " it, or with an empty list, all are segmented. Objects given by points always are.",
        examples=[["person", "car"], "$inputs.classes"],
        json_schema_extra=_WITH_BOXES,
    )
    confidence_source: ConfidenceSource = Field(
        default="sam",
        title="Confidence Source",
        description="What `confidence` of a mask is: the quality that SAM 2 predicts for it, or the"
        " confidence of the detector's box. Column `sam2_score` has SAM's in either case.",
        examples=["sam", "detector"],
        json_schema_extra={
            "values_metadata": {
                "sam": {"name": "SAM 2", "description": "Predicted quality of the mask."},
                "detector": {"name": "Detector", "description": "Confidence of the box."},
            },
            **_WITH_BOXES,
        },
    )
    invalid_boxes: InvalidBoxes = Field(
        default="empty",
        title="Invalid Boxes",
        description="What a box that is not finite, or has no area inside the image, gives: a row"
        " with an empty mask and score 0, no row, or an error.",
        examples=["empty", "drop", "error"],
        json_schema_extra={
            "values_metadata": {
                "empty": {"name": "Empty mask", "description": "The stream never stops."},
                "drop": {"name": "No row", "description": "Fewer rows than boxes; never stops."},
                "error": {"name": "Error", "description": "The step fails and names the box."},
            },
            **_WITH_BOXES,
        },
    )

    execution_mode: ExecutionMode = execution_mode_field()
    api_url: ApiUrl = api_url_field()
    api_key: ApiKey = api_key_field()

    def model_post_init(self, context: Any) -> None:
        """Refuse, at compile time, a step that asks for nothing, and malformed literal points."""
        refuse_unknown_fields(self)
        if self.boxes is None and (self.points is None or self.points == []):
            raise ValueError(
                "nothing to segment: connect `boxes` to the predictions of a detection model, for"
                " example $steps.model.predictions, or give `points`."
            )
        if isinstance(self.points, list):
            parse_point_objects(self.points)
        super().model_post_init(context)

    @classmethod
    def get_parameters_accepting_batches(cls) -> list[str]:
        """Return the fields that always come as a batch."""
        return ["images", "boxes"]

    @classmethod
    def get_parameters_accepting_batches_and_scalars(cls) -> list[str]:
        """Return the fields that come as a batch or as one value for all images."""
        return ["points"]

    @classmethod
    def describe_outputs(cls) -> list[OutputDefinition]:
        """Return the outputs; the engine serialises by the first kind, which loses nothing."""
        return [
            OutputDefinition(
                name="predictions",
                kind=[
                    PREDICTIONS_KIND,
                    RLE_INSTANCE_SEGMENTATION_PREDICTION_KIND,
                    INSTANCE_SEGMENTATION_PREDICTION_KIND,
                ],
            ),
            OutputDefinition(name="scores", kind=[LIST_OF_VALUES_KIND]),
        ]
