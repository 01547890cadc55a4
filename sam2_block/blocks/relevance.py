"""Fields that have an effect only beside others: the editor's hint, and the same check.

The check reads the hint, so that the two cannot differ. The forms of the hint are those of the
engine's own blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError
from roboflow_workflows.execution_engine.entities.types import Kind

_HINT = "relevant_for"


def relevant_with(field: str, kinds: Sequence[Kind]) -> dict[str, Any]:
    """Return the hint that a field matters only where another is connected.

    Args:
        field: The other.
        kinds: What it takes.
    """
    return {_HINT: {field: {"kind": [kind.name for kind in kinds], "required": False}}}


def relevant_where(field: str, *values: str) -> dict[str, Any]:
    """Return the hint that a field matters only where another has one of these values."""
    return {_HINT: {field: {"values": list(values), "required": False}}}


def refuse_fields_without_effect(step: BaseModel) -> None:
    """Reject fields that have no effect in this step; defaults and empty values count as unset.

    Raises:
        ValidationError: Names every such field, and no value: it may be a key.
    """
    errors: list[InitErrorDetails] = []
    for name, field in type(step).model_fields.items():
        extra: Any = field.json_schema_extra or {}
        hint: dict[str, dict[str, Any]] = extra.get(_HINT, {})
        if getattr(step, name) in (field.default, "", []):
            continue
        for other, condition in hint.items():
            problem = _problem(getattr(step, other), other, condition)
            if problem:
                message = f"`{name}` has no effect {problem}, or leave `{name}` out."
                error = PydanticCustomError("without_effect", message)
                errors.append(InitErrorDetails(type=error, loc=(name,), input=None))
    if errors:
        raise ValidationError.from_exception_data(type(step).__name__, errors, hide_input=True)


def _problem(value: Any, name: str, condition: dict[str, Any]) -> str | None:
    """Return what is wrong with the other field, and how to fix it."""
    values = condition.get("values")
    if values is None:
        return f"without `{name}`: connect `{name}`" if value is None else None
    if value in values:
        return None
    return f"where `{name}` is `{value}`: choose {' or '.join(f'`{one}`' for one in values)}"
