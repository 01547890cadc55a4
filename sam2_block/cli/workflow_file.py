"""A workflow definition file, and what the command needs to know about its inputs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sam2_block.errors import InputError

_WRAPPERS = ("workflow", "config", "specification")
"""Keys that Roboflow's API and web page nest a definition in: some or all, in this order."""

_IMAGE_INPUT_TYPES = ("WorkflowImage", "InferenceImage")


@dataclass(frozen=True)
class WorkflowFile:
    """A workflow definition in the form that the engine accepts.

    Attributes:
        path: The file it was read from.
        definition: The parsed JSON; the engine validates it.
        inside: Keys that lead to the definition in the file, outermost first; usually none.
    """

    path: Path
    definition: dict[str, Any]
    inside: tuple[str, ...] = ()

    @classmethod
    def read(cls, path: Path) -> WorkflowFile:
        """Read a definition in UTF-8, UTF-16 or UTF-32, with or without a byte order mark.

        Raises:
            InputError: There is no such file, or it does not hold a JSON object.
        """
        try:
            content = path.read_bytes()
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror}).") from error
        definition, inside = _parse(path, content), []
        for wrapper in _WRAPPERS:
            if "inputs" not in definition and isinstance(definition.get(wrapper), (str, dict)):
                inner = definition[wrapper]
                # The API returns `config` as JSON in a string.
                definition = _parse(path, inner) if isinstance(inner, str) else inner
                inside.append(wrapper)
        return cls(path, definition, tuple(inside))

    def image_input(self) -> str:
        """Return the name of the one input that takes the images.

        Raises:
            InputError: There is none, or more than one.
        """
        names = [
            str(an_input.get("name")) for an_input in self._inputs() if _takes_images(an_input)
        ]
        if len(names) == 1:
            return names[0]
        if not names:
            raise InputError(
                f"{self.path}: the workflow has no image input; expected one input of type"
                " WorkflowImage."
            )
        raise InputError(
            f"{self.path}: the workflow has {len(names)} image inputs ({', '.join(names)});"
            " `sam2-block run` accepts workflows with one."
        )

    def check_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Reject parameters that the workflow would silently ignore.

        Raises:
            InputError: The workflow has no parameter of that name.
        """
        known = [
            str(an_input.get("name")) for an_input in self._inputs() if not _takes_images(an_input)
        ]
        for name in parameters:
            if name not in known:
                raise InputError(
                    f"--param {name}: the workflow has no such parameter;"
                    f" it has {', '.join(known) or 'none'}."
                )

    def _inputs(self) -> list[dict[str, Any]]:
        inputs = self.definition.get("inputs")
        if not isinstance(inputs, list):
            raise InputError(
                f"{self.path}: expected a workflow definition, with `inputs`, `steps` and"
                " `outputs`; it has no list `inputs`."
            )
        return [an_input for an_input in inputs if isinstance(an_input, dict)]


def _parse(path: Path, text: str | bytes) -> dict[str, Any]:
    """Parse JSON; `json.loads` detects the encodings that JSON allows."""
    try:
        definition = json.loads(text)
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: expected a workflow definition in JSON; it is not text in UTF-8 or UTF-16."
        ) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: expected a workflow definition in JSON; {error}.") from error
    if not isinstance(definition, dict):
        raise InputError(
            f"{path}: expected a workflow definition, a JSON object with inputs, steps and"
            f" outputs; got {type(definition).__name__}."
        )
    return definition


def _takes_images(an_input: Mapping[str, Any]) -> bool:
    """Return whether an input is an image input, or a batch input whose kind is image."""
    if an_input.get("type") in _IMAGE_INPUT_TYPES:
        return True
    kinds = an_input.get("kind")
    if not isinstance(kinds, list):  # the engine reports any other value
        return False
    names = [kind.get("name") if isinstance(kind, dict) else kind for kind in kinds]
    return an_input.get("type") == "WorkflowBatchInput" and names == ["image"]
