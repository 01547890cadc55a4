"""Fields that a block does not have: refused with the name that was probably meant."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import BaseModel, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from sam2_block.messages.nearest_name import nearest_name


def refuse_unknown_fields(step: BaseModel) -> None:
    """Refuse a step with fields that its manifest, of `extra="allow"`, does not declare.

    Pydantic's own `extra="forbid"` refuses them as well, and does not say what was meant.

    Raises:
        ValidationError: Names every such field, and no value: it may be a key.
    """
    known = type(step).model_fields
    errors = [
        InitErrorDetails(type=_unknown(name, known), loc=(name,), input=None)
        for name in step.model_extra or {}
    ]
    if errors:
        raise ValidationError.from_exception_data(type(step).__name__, errors, hide_input=True)


def _unknown(name: str, known: Iterable[str]) -> PydanticCustomError:
    meant = nearest_name(name, known)
    hint = f"did you mean `{meant}`?" if meant else f"expected one of {', '.join(known)}."
    # Braces would be read as fields of the message's template.
    shown = name[:80].replace("{", "(").replace("}", ")")
    return PydanticCustomError("unknown_field", f"there is no field `{shown}`; {hint}")
