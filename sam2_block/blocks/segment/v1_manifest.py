"""The manifest of `sam2_block/segment@v1`: inputs, outputs and declarations."""

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
from sam2_block.blocks.relevance import relevant_with
from sam2_block.blocks.shared_fields import (
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
from sam2_block.blocks.unknown_fields import reject_unknown_fields
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
Run Meta's SAM 2, in this process or on a server, and get one mask for every box and every list of
points.

Connect the predictions of any detection model to **boxes**. Each box yields exactly one row, in the
same order, with its class, its `tracker_id` and its other columns; a mask in several parts, or with
holes, stays one row. An image without detections yields an empty result.

To replace `roboflow_core/segment_anything@v1`, change the type of the step to this one: the fields
of that block have the same meaning here.

The version `demo` is small, built in, and meant for demos and tests. The others are Meta's own;
their weights are downloaded once from the Hugging Face Hub, or read from a folder of the server's
operator. To run SAM 2 on a server, set **execution mode** to `remote`: the image is sent once, and
the result is the same (up to the colour order of current servers: see the README).
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

    # The literal form comes first in each union: the engine shows the error of the first member.
    # Its validator applies the rule of `SegmentOptions`, which also holds for values of inputs.
    type: Literal["sam2_block/segment@v1"] = type_field("sam2_block/segment@v1")
    images: Images = images_field()
    boxes: Selector(kind=BOXES_KINDS) | None = Field(
        default=None,
        title="Boxes",
        description="Predictions of another model on the same image; each box becomes one mask.",
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
        description="Points in absolute pixels: a flat list for one object, or a list of lists, one"
        " per object. A point is {x, y, positive} or (x, y[, positive]); a negative point marks"
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
        description="Minimum quality that SAM 2 must predict for a mask, 0 to 1; masks below it are"
        " dropped.",
        examples=[0.3, "$inputs.threshold"],
    )
    multimask_output: (
        Annotated[bool, BeforeValidator(check_multimask_output)]
        | Selector(kind=[BOOLEAN_KIND])
        | None
    ) = Field(
        default=True,
        title="Multimask Output",
        description="Let SAM 2 propose three masks for each prompt, and select the best one."
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
        description="Names of the classes to segment; boxes of other classes are dropped. If it is"
        " unset or empty, boxes of all classes are segmented. Points are not affected.",
        examples=[["person", "car"], "$inputs.classes"],
        json_schema_extra=_WITH_BOXES,
    )
    confidence_source: ConfidenceSource = Field(
        default="sam",
        title="Confidence Source",
        description="The value of `confidence`: the quality that SAM 2 predicts for the mask, or"
        " the detector's confidence. The column `sam2_score` always holds the predicted quality.",
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
        description="The result for a box that is not finite or has no area inside the image: a row"
        " with an empty mask and score 0, no row, or an error.",
        examples=["empty", "drop", "error"],
        json_schema_extra={
            "values_metadata": {
                "empty": {
                    "name": "Empty mask",
                    "description": "Keeps the row; the stream continues.",
                },
                "drop": {
                    "name": "No row",
                    "description": "Fewer rows than boxes; the stream continues.",
                },
                "error": {
                    "name": "Error",
                    "description": "The step fails; the error names the box.",
                },
            },
            **_WITH_BOXES,
        },
    )

    execution_mode: ExecutionMode = execution_mode_field()
    api_url: ApiUrl = api_url_field()
    api_key: ApiKey = api_key_field()

    def model_post_init(self, context: Any) -> None:
        """Reject, at compile time, a step without prompts or with malformed literal points."""
        reject_unknown_fields(self)
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
        """Return the outputs; the engine serialises by the first kind, which is lossless."""
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
