"""Fields that have an effect only in combination with others: the editor's hint and the check.

The check reads the hint, so the two cannot differ. The hint takes the same forms as in the engine's
own blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError
from roboflow_workflows.execution_engine.entities.types import Kind

_HINT = "relevant_for"


def relevant_with(field: str, kinds: Sequence[Kind]) -> dict[str, Any]:
    """Return the hint that a field matters only if another field is connected.

    Args:
        field: The other field.
        kinds: The kinds that the other field accepts.
    """
    return {_HINT: {field: {"kind": [kind.name for kind in kinds], "required": False}}}


def relevant_where(field: str, *values: str) -> dict[str, Any]:
    """Return the hint that a field matters only if another field has one of these values."""
    return {_HINT: {field: {"values": list(values), "required": False}}}


def reject_fields_without_effect(step: BaseModel) -> None:
    """Reject fields that have no effect in this step; defaults and empty values count as unset.

    Raises:
        ValidationError: The error names every such field, but no value: it may be a key.
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
    """Return why the other field makes this one useless, and the fix; None if it does not."""
    values = condition.get("values")
    if values is None:
        return f"without `{name}`: connect `{name}`" if value is None else None
    if value in values:
        return None
    return f"where `{name}` is `{value}`: choose {' or '.join(f'`{one}`' for one in values)}"
