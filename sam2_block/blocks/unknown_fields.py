"""The check for fields that a block does not have; its error suggests the nearest name."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import BaseModel, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from sam2_block.messages.nearest_name import nearest_name


def reject_unknown_fields(step: BaseModel) -> None:
    """Reject a step with fields that its manifest (with `extra="allow"`) does not declare.

    Pydantic's own `extra="forbid"` also rejects them, but does not suggest the nearest name.

    Raises:
        ValidationError: The error names every such field, but no value: it may be a key.
    """
    known = type(step).model_fields
    errors = [
        InitErrorDetails(type=_unknown_field_error(name, known), loc=(name,), input=None)
        for name in step.model_extra or {}
    ]
    if errors:
        raise ValidationError.from_exception_data(type(step).__name__, errors, hide_input=True)


def _unknown_field_error(name: str, known: Iterable[str]) -> PydanticCustomError:
    nearest = nearest_name(name, known)
    hint = f"did you mean `{nearest}`?" if nearest else f"expected one of {', '.join(known)}."
    # The message is a template, in which braces would mark fields.
    shown = name[:80].replace("{", "(").replace("}", ")")
    return PydanticCustomError("unknown_field", f"there is no field `{shown}`; {hint}")
