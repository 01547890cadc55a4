"""Messages for the engine's errors: the step, the field and the reason, one line per detail.

This module exists because the message of an engine error only points to its details. The engine
keeps the step, the field and the reason in attributes of the error (`blocks_errors`, `block_id`,
`block_type_name`, ...) and of an inner pydantic error (`inner_error`).
"""

from __future__ import annotations

import difflib
from typing import Any

from sam2_block.messages.one_line import one_line

_IS_SELECTOR = "should be a selector, such as $inputs.name or $steps.name.output"


def compile_problem(error: Exception, definition: dict[str, Any]) -> str:
    """Describe why a workflow does not compile: the engine's message, and one line per detail."""
    details = _details(error, definition)
    message = _message(error)
    if details:
        message = message.replace(" Details provided in inner error.", "")
    lines = [f"the workflow does not compile: {one_line(message)}"]
    return "\n".join([*lines, *(f"  {detail}" for detail in dict.fromkeys(details))])


def run_problem(error: BaseException) -> str:
    """Describe in one line why a run failed, and in which step."""
    message = _message(error)
    inner = getattr(error, "inner_error", None)
    if inner is not None and hasattr(inner, "errors"):
        message = message.replace("Details available in inner error object.", _wrong_value(inner))
    step, block_type = getattr(error, "block_id", None), getattr(error, "block_type", None)
    if step:
        message = f"step {step!r}{f' ({block_type})' if block_type else ''}: {message}"
    python_block = getattr(error, "block_type_name", None)
    if python_block:
        message = f"Python block {python_block!r}: {message}"
    return one_line(message)


def _message(error: BaseException) -> str:
    """Return the message of an engine error, or the type and message of any other error."""
    if hasattr(error, "public_message"):
        return str(error)
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _details(error: Exception, definition: dict[str, Any]) -> list[str]:
    inner = getattr(error, "inner_error", None)
    if inner is not None and hasattr(inner, "errors"):  # a pydantic error: the most detailed source
        return [_validation_detail(detail, definition) for detail in inner.errors()]
    details = [_block_detail(block) for block in getattr(error, "blocks_errors", None) or []]
    python_block = getattr(error, "block_type_name", None)
    if python_block:
        line = getattr(error, "error_line", None)
        details.append(f"in the Python block {python_block!r}" + (f", line {line}" if line else ""))
    if inner is not None and str(inner) not in str(error):
        details.append(one_line(f"{type(inner).__name__}: {inner}"))
    return details


def _validation_detail(detail: dict[str, Any], definition: dict[str, Any]) -> str:
    location, message = detail["loc"], detail["msg"].removeprefix("Value error, ")
    context = detail.get("ctx", {})
    if detail["type"] == "union_tag_invalid":
        message = _unknown_type_message(str(context["tag"]), str(context["expected_tags"]))
    elif detail["type"] == "string_pattern_mismatch" and "$inputs" in context["pattern"]:
        message = _IS_SELECTOR
    return one_line(f"{_location_text(location, definition)}: {message}")


def _wrong_value(validation_error: Any) -> str:
    """Describe what is wrong with a run-time value, without the error that it is no selector."""
    details = validation_error.errors()
    value_details = [detail for detail in details if detail["loc"][-1:] != ("constrained-str",)]
    return "; ".join(
        detail["msg"].removeprefix("Value error, ") for detail in value_details or details
    )


def _location_text(location: tuple[str | int, ...], definition: dict[str, Any]) -> str:
    """Return a location by the step's name, since its index means little to the file's author."""
    if len(location) < 2 or location[0] != "steps":
        return ".".join(map(str, location)) or "definition"
    steps = definition.get("steps")
    step = steps[location[1]] if isinstance(steps, list) and isinstance(location[1], int) else None
    if not isinstance(step, dict):
        return f"step {location[1]}"
    step_text = f"step {step.get('name', location[1])!r} ({step.get('type', 'without a type')})"
    return f"{step_text}, {location[3]}" if len(location) > 3 else step_text


def _unknown_type_message(type_name: str, expected_tags: str) -> str:
    known = [tag.strip().strip("'") for tag in expected_tags.split(",")]
    close = difflib.get_close_matches(type_name, known, n=3)
    hint = f"did you mean {' or '.join(close)}?" if close else "is its plugin in WORKFLOWS_PLUGINS?"
    return f"there is no type {type_name!r} here; {hint}"


def _block_detail(block: Any) -> str:
    location = f"step {block.block_id!r} ({block.block_type})"
    if block.property_name:
        location += f", {block.property_name}"
    return one_line(f"{location}: {block.property_details or block.block_details or 'rejected'}")
