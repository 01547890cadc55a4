"""Run a workflow again with its masks in another form, to see what its block does with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.matrix.comparing import differences
from tests.matrix.entries import Entry
from tests.matrix.running import Results, run
from tests.matrix.scenes import Picture


@dataclass(frozen=True)
class Probe:
    """A workflow that runs.

    Attributes:
        workflow: Its definition.
        entry: What is said of its block.
        scenes: The scenes that it runs on.
    """

    workflow: dict[str, Any]
    entry: Entry
    scenes: Mapping[str, tuple[Picture, ...]]

    def compact(self) -> str:
        """Say whether masks held as `CompactMask` give what dense ones give."""
        for scene in self.scenes:
            for serialize in (False, True):
                where = f"{scene}, in JSON" if serialize else scene
                dense = self._run(scene, serialize=serialize)
                try:
                    compact = self._run(scene, form="compact", serialize=serialize)
                except Exception as error:
                    return f"error ({where}): {in_words(error)}"
                found = set(differences(dense, compact))
                if found:
                    # Identifiers, times and the like differ between any two runs.
                    found -= set(differences(dense, self._run(scene, serialize=serialize)))
                if found:
                    return f"wrong result ({where}): {min(found)}"
        return "yes"

    def are_masks_read(self) -> str:
        """Say whether something else comes out where the masks fill their boxes."""
        scene = self._main_scene()
        dense, again, filled = (
            _of_block(self._run(scene, form=form)) for form in ("dense", "dense", "filled")
        )
        found = set(differences(dense, filled)) - set(differences(dense, again))
        return "read" if found else "not read"

    def json(self) -> str:
        """Say how many rows there are in the engine's JSON, and what their masks are."""
        found = []
        for value in self._run(self._main_scene(), serialize=True)[0]["block"].values():
            if isinstance(value, dict) and isinstance(value.get("predictions"), list):
                rows = value["predictions"]
                keys = {key for row in rows for key in row}
                masks = "RLE" if "rle_mask" in keys else "polygons" if "points" in keys else "boxes"
                found.append(f"{len(rows)} {masks}" if rows else "0")
        return ", ".join(found)

    def _main_scene(self) -> str:
        return "single" if "single" in self.scenes else list(self.scenes)[-1]

    def _run(self, scene: str, **how: Any) -> Results:
        frames, moves = self.entry.frames, self.entry.moves
        return run(self.workflow, self.scenes[scene], frames=frames, moves=moves, **how)


def _of_block(results: Results) -> list[dict[str, Any]]:
    return [result["block"] for result in results]


def in_words(error: BaseException) -> str:
    """Return the kind of an error and the start of what it says."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:160]}"
