"""Numbers for classes that have a name only.

A detector by words (Florence-2, Grounding DINO) gives names and no numbers, and points have no
detector at all. A small number would be taken for an index into somebody's list of classes: a dog
exported as class 0 becomes a cat. So the number is made of the name: the same in every image,
process and representation, different for different names, and outside the range of detectors, so
that an exporter which indexes a list with it fails where it would write a wrong class.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterable

_RANGE = 2**23
"""Ids lie from here to twice this: float32, in which some blocks hold classes, has each of them."""


def class_id_of_name(name: str, taken: Container[int] = ()) -> int:
    """Return the id of a class that has a name only, 2**23 to 2**24 - 1.

    Args:
        name: Name of the class.
        taken: Ids of other classes; where the name's own id is among them, the next free one.
    """
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()
    class_id = int.from_bytes(digest[:4], "big") % _RANGE
    while class_id + _RANGE in taken:
        class_id = (class_id + 1) % _RANGE
    return class_id + _RANGE


def class_ids_of_names(names: Iterable[str]) -> list[int]:
    """Return one id a name, and the same id for the same name."""
    names = list(names)
    ids: dict[str, int] = {}
    # Sorted: where the ids of two names collide, their order among the rows must not decide.
    for name in sorted(set(names)):
        ids[name] = class_id_of_name(name, taken=set(ids.values()))
    return [ids[name] for name in names]
