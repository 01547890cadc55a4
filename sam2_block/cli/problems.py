"""The engine's errors in words: which step, which field, what is wrong."""

from __future__ import annotations

import difflib
from typing import Any

from sam2_block.cli.console import one_line

_IS_SELECTOR = "should be a selector, such as $inputs.name or $steps.name.output"


def compile_problem(error: Exception, definition: dict[str, Any]) -> str:
    """Say why a workflow does not compile: the engine's message, and a line for each detail."""
    details = _details(error, definition)
    message = _message(error)
    if details:
        message = message.replace(" Details provided in inner error.", "")
    lines = [f"the workflow does not compile: {one_line(message)}"]
    return "\n".join([*lines, *(f"  {detail}" for detail in dict.fromkeys(details))])


def run_problem(error: BaseException) -> str:
    """Say in one line why a run failed, and in which step."""
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
    """Return the engine's message; of an error that is not the engine's, its type as well."""
    if hasattr(error, "public_message"):
        return str(error)
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _details(error: Exception, definition: dict[str, Any]) -> list[str]:
    inner = getattr(error, "inner_error", None)
    if inner is not None and hasattr(inner, "errors"):  # pydantic's: the fullest account
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
    place, message = detail["loc"], detail["msg"].removeprefix("Value error, ")
    context = detail.get("ctx", {})
    if detail["type"] == "union_tag_invalid":
        message = _unknown_type(str(context["tag"]), str(context["expected_tags"]))
    elif detail["type"] == "string_pattern_mismatch" and "$inputs" in context["pattern"]:
        message = _IS_SELECTOR
    return one_line(f"{_where(place, definition)}: {message}")


def _wrong_value(validation_error: Any) -> str:
    """Say what is wrong with a value that came in; that it is no selector goes without saying."""
    details = validation_error.errors()
    as_value = [detail for detail in details if detail["loc"][-1:] != ("constrained-str",)]
    return "; ".join(detail["msg"].removeprefix("Value error, ") for detail in as_value or details)


def _where(place: tuple[str | int, ...], definition: dict[str, Any]) -> str:
    """Name the place by the step's own name: its index says nothing to who wrote the file."""
    if len(place) < 2 or place[0] != "steps":
        return ".".join(map(str, place)) or "definition"
    steps = definition.get("steps")
    step = steps[place[1]] if isinstance(steps, list) and isinstance(place[1], int) else None
    if not isinstance(step, dict):
        return f"step {place[1]}"
    named = f"step {step.get('name', place[1])!r} ({step.get('type', 'without a type')})"
    return f"{named}, {place[3]}" if len(place) > 3 else named


def _unknown_type(came: str, expected_tags: str) -> str:
    known = [tag.strip().strip("'") for tag in expected_tags.split(",")]
    close = difflib.get_close_matches(came, known, n=3)
    hint = f"did you mean {' or '.join(close)}?" if close else "is its plugin in WORKFLOWS_PLUGINS?"
    return f"there is no type {came!r} here; {hint}"


def _block_detail(block: Any) -> str:
    place = f"step {block.block_id!r} ({block.block_type})"
    if block.property_name:
        place += f", {block.property_name}"
    return one_line(f"{place}: {block.property_details or block.block_details or 'refused'}")
