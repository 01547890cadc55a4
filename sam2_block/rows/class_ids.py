"""Ids for classes that have only a name.

An open-vocabulary detector (Florence-2, Grounding DINO) returns names without ids, and points have
no detector at all. A small id would be mistaken for an index into a list of classes: a dog exported
as class 0 becomes a cat. So the id is a hash of the name: the same in every image, process and
representation, different for different names, and outside the range of detectors' ids. An exporter
that indexes a list with it fails, instead of writing a wrong class.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterable

_RANGE = 2**23
"""Ids range from this to twice this: exact in float32, in which some blocks hold classes."""


def class_id_of_name(name: str, taken: Container[int] = ()) -> int:
    """Return the id of a class that has only a name, 2**23 to 2**24 - 1.

    Args:
        name: Name of the class.
        taken: Ids of other classes. If the name's own id is one of them, the next free id is used.
    """
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()
    class_id = int.from_bytes(digest[:4], "big") % _RANGE
    while class_id + _RANGE in taken:
        class_id = (class_id + 1) % _RANGE
    return class_id + _RANGE


def class_ids_of_names(names: Iterable[str]) -> list[int]:
    """Return one id per name, the same for equal names."""
    names = list(names)
    ids: dict[str, int] = {}
    # Sorted, so that the order of rows does not matter if the ids of two names collide.
    for name in sorted(set(names)):
        ids[name] = class_id_of_name(name, taken=set(ids.values()))
    return [ids[name] for name in names]
