"""Which shapes others contain."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping

from meshgen.typed.shapes import (
    Chosen,
    Fixed,
    Many,
    Mapped,
    Maybe,
    OneOf,
    Pair,
    Record,
    RecordRef,
    Registered,
    Shape,
)


def reachable(shapes: Iterable[Shape], records: Mapping[Hashable, Record]) -> list[Shape]:
    """All shapes that these contain, themselves included, each once, in the order they are met."""
    found: dict[Shape, None] = {}
    todo = list(shapes)[::-1]
    while todo:
        shape = todo.pop()
        if shape not in found:
            found[shape] = None
            todo += _parts(shape, records)[::-1]
    return list(found)


def _parts(shape: Shape, records: Mapping[Hashable, Record]) -> list[Shape]:
    match shape:
        case Many(item=part) | Maybe(item=part) | Registered(inner=part) | Chosen(base=part):
            return [part]
        case Mapped(key=key, value=value) | Pair(key=key, value=value):
            return [key, value]
        case Fixed(items=parts) | OneOf(members=parts):
            return [*parts]
        case RecordRef(hint=hint):
            return [slot.shape for slot in records[hint].slots]
        case _:
            return []
