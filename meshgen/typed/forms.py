"""How a shape sits in a field: alone, optional, repeated, as a map, or in a message of its own.

A repeated field, a map and a oneof hold neither lists nor None; there, and where absent and empty
differ, such a shape is wrapped in a message with one field.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from meshgen.typed.canonical import canonical
from meshgen.typed.shapes import (
    Default,
    Enumerated,
    Many,
    Mapped,
    Maybe,
    Pair,
    Registered,
    Scalar,
    Shape,
    Slot,
)

_MAP_KEYS = (Scalar(str), Scalar(int), Scalar(bool))


class Label(enum.Enum):
    """What stands before a field's type."""

    SINGULAR = ""
    OPTIONAL = "optional"
    REPEATED = "repeated"
    MAP = "map"


@dataclass(frozen=True, slots=True)
class Form:
    """A field's label, and the shape of one element of it."""

    label: Label
    element: Shape
    key: Shape | None = None
    # Whether None is written as an absent field.
    skips_none: bool = False


def form_of(slot: Slot) -> Form:
    """How the field of a message holds the values of its slot."""
    shape = bare(slot.shape)
    if isinstance(shape, Many | Mapped) and slot.default in (Default.REQUIRED, Default.EMPTY):
        return _plural(shape)
    if isinstance(shape, Maybe) and slot.default in (Default.REQUIRED, Default.NONE):
        return Form(_alone(shape.item, True), shape.item, skips_none=True)
    return Form(_alone(shape, slot.default is not Default.REQUIRED), shape)


def is_required(slot: Slot) -> bool:
    """Whether leaving the field out is a mistake, or means something else than its default."""
    shape = bare(slot.shape)
    return slot.default is Default.REQUIRED and not isinstance(shape, Many | Mapped | Maybe)


def bare(shape: Shape) -> Shape:
    """What a registered class is converted to; every other shape itself."""
    while isinstance(shape, Registered):
        shape = shape.inner
    return shape


def is_message(shape: Shape) -> bool:
    """Whether one element of this shape is a message."""
    return not isinstance(canonical(shape), Scalar | Enumerated)


def wrapped(shape: Shape) -> Slot:
    """The one field of the message that a list, a dict or an optional value is wrapped in."""
    if isinstance(shape, Maybe):
        return Slot(python="value", proto="value", shape=shape)
    name = "entries" if isinstance(shape, Mapped) else "values"
    return Slot(python=name, proto=name, shape=shape)


def _plural(shape: Many | Mapped) -> Form:
    if isinstance(shape, Many):
        return Form(Label.REPEATED, shape.item)
    if canonical(shape.key) in _MAP_KEYS and not isinstance(shape.key, Registered):
        return Form(Label.MAP, shape.value, key=shape.key)
    return Form(Label.REPEATED, Pair(shape.key, shape.value))


def _alone(shape: Shape, may_be_absent: bool) -> Label:
    # A message's presence is told without a word.
    return Label.OPTIONAL if may_be_absent and not is_message(shape) else Label.SINGULAR
