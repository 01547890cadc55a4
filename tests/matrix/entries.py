"""What can be said by hand of a block: how it is filled in, what it gives, why it does not run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Rows = Literal["all", "none", "one", "twice"] | tuple[str, ...]
"""Which rows come out: those of the named objects, or as the word says.

`one`: one in all, where any went in.
"""


@dataclass(frozen=True)
class Entry:
    """What is known of a block beyond its manifest. Everything has a default: most need none.

    Attributes:
        fields: Fields of the step, where the generic values do not fit.
        output: The output that is connected, where its name is the workflow's to choose (`*`).
        before: Further steps in front of it.
        segment: Fields of our step that are connected in another way than usual.
        frames: How often the images are run, one after the other; the last result is looked at.
        moves: Show the mirror image in all frames but the last, so that everything has moved.
        rows: The rows of each output, where they are not `all`. Also for lists, by their length.
        masks: What becomes of the masks of each output of detections, where it is not `same`.
        gives: Values of outputs for the image with all the objects, or functions that say whether
            a value is right.
        fails: A pattern of the error that is raised, by scene; `*` stands for all scenes.
        runs: Run it although it declares that it needs a model or the internet.
        reason: Why it is not run; it is compiled.
        note: What a reader of the document should know.
    """

    fields: Mapping[str, Any] = field(default_factory=dict)
    output: str = ""
    before: Sequence[Mapping[str, Any]] = ()
    segment: Mapping[str, Any] = field(default_factory=dict)
    frames: int = 1
    moves: bool = False
    rows: Mapping[str, Rows] = field(default_factory=dict)
    masks: Mapping[str, Literal["altered", "lost"]] = field(default_factory=dict)
    gives: Mapping[str, Any] = field(default_factory=dict)
    fails: Mapping[str, str] = field(default_factory=dict)
    runs: bool = False
    reason: str = ""
    note: str = ""
