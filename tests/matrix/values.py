"""Fill in a step's fields from its manifest, so that a block that nobody has seen can be run."""

from __future__ import annotations

import re
from typing import Any

from pydantic import ValidationError
from roboflow_workflows.execution_engine.introspection.entities import BlockDescription

from tests.matrix.blocks import MASK_KINDS

MASKS = "$steps.sam.predictions"
# What goes into a field that accepts these kinds, the first that fits.
_BY_KIND = (
    ({"image"}, "$inputs.image"),
    ({"video_metadata"}, "$inputs.video_metadata"),
    (MASK_KINDS, MASKS),
    ({"object_detection_prediction"}, "$inputs.boxes"),
    ({"language_model_output"}, "$inputs.model_output"),
    ({"roboflow_model_id"}, "$inputs.model_id"),
)
_LITERALS: tuple[Any, ...] = (
    5,
    0.5,
    "text",
    True,
    [],
    {},
    [[5, 5], [150, 5], [150, 110], [5, 110]],
)


class NoValueError(Exception):
    """A required field for which no generic value is valid."""


def fill_in(block: BlockDescription, step: dict[str, Any], boxes: str) -> dict[str, Any]:
    """Return the step with a value in every field that is required.

    Args:
        block: The block.
        step: What is given of the step.
        boxes: What goes into fields that take detections without masks.

    Raises:
        NoValueError: No value is valid for a field.
    """
    properties = block.block_schema["properties"]
    missing = [name for name in block.block_schema.get("required", []) if name not in step]
    candidates = {name: iter(_candidates(properties[name], boxes)) for name in missing}
    filled = {**step, **{name: next(values) for name, values in candidates.items()}}
    while True:
        try:
            block.manifest_class.model_validate(filled)
        except ValidationError as error:
            refused = {str(part["loc"][0]) for part in error.errors() if part["loc"]}
            to_change = refused & candidates.keys()
            # A manifest's own check: it names a field that these values of the others ask for.
            named = set(re.findall(r"`(\w+)`", str(error))) & properties.keys()
            for name in named - filled.keys():
                candidates[name] = iter(_candidates(properties[name], boxes))
                to_change = {*to_change, name}
            if not to_change:
                raise NoValueError(f"the manifest refuses {sorted(refused)}: {error}") from error
            for name in to_change:
                try:
                    filled[name] = next(candidates[name])
                except StopIteration:
                    raise NoValueError(f"no generic value is valid for `{name}`") from error
        else:
            return filled


def _candidates(schema: dict[str, Any], boxes: str) -> list[Any]:
    """List values for a field: selectors by kind, then the manifest's examples, then literals."""
    alternatives = [schema, *schema.get("anyOf", []), *schema.get("oneOf", [])]
    found: list[Any] = []
    for alternative in alternatives:
        found += _selectors(alternative, boxes)
        if "items" in alternative:
            found += [[selector] for selector in _selectors(alternative["items"], boxes)]
    for alternative in alternatives:
        found += [alternative["const"]] if "const" in alternative else []
        found += alternative.get("enum", [])
    examples = schema.get("examples", [])
    found += [example for example in examples if "$" not in str(example)]
    return [*found, *_LITERALS]


def _selectors(schema: dict[str, Any], boxes: str) -> list[str]:
    kinds = {kind["name"] for kind in schema.get("kind", [])}
    found = [selector for accepted, selector in _BY_KIND if kinds & accepted]
    return [boxes if selector == "$inputs.boxes" else selector for selector in found]
