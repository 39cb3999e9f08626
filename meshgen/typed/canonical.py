"""What Protobuf sees of a shape: two that are one here are one message."""

from __future__ import annotations

from meshgen.typed.shapes import (
    Array,
    Chosen,
    Fixed,
    Many,
    Mapped,
    Maybe,
    OneOf,
    Pair,
    Registered,
    Shape,
)


def canonical(shape: Shape) -> Shape:
    """The shape without what only Python tells apart: list and set, Literal and its type."""
    while isinstance(shape, Registered | Chosen):
        shape = shape.inner if isinstance(shape, Registered) else shape.base
    match shape:
        case Array():
            return Array()
        case Many(item=item):
            return Many(canonical(item))
        case Mapped(key=key, value=value):
            return Mapped(canonical(key), canonical(value))
        case Pair(key=key, value=value):
            return Pair(canonical(key), canonical(value))
        case Fixed(items=items):
            return Fixed(tuple(map(canonical, items)))
        case Maybe(item=item):
            return Maybe(canonical(item))
        case OneOf(members=members):
            return OneOf(tuple(sorted(map(canonical, members), key=repr)))
        case _:
            return shape
