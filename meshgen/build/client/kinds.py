"""The expressions by which a generated client writes and reads values, from shapes.

They mirror `meshgen.typed.compiler`, which makes the same choices for the service.
"""

from __future__ import annotations

from datetime import datetime

from meshgen.build.client.naming import ClassNames, identifier
from meshgen.build.client.sourcetext import literal
from meshgen.typed.canonical import canonical
from meshgen.typed.forms import Label, bare, form_of, wrapped
from meshgen.typed.layout import Layout, parts_of
from meshgen.typed.schema import Schema
from meshgen.typed.shapes import (
    Anything,
    Array,
    Chosen,
    Default,
    Enumerated,
    Fixed,
    Many,
    Mapped,
    Maybe,
    Moment,
    Null,
    OneOf,
    Pair,
    RecordRef,
    Registered,
    Scalar,
    Shape,
    Slot,
)


class Kinds:
    """Writes the expressions of one deployment's module."""

    def __init__(self, layout: Layout, schema: Schema, classes: ClassNames) -> None:
        self._layout = layout
        self._classes = classes
        self._numbers = {
            enum.name: {value.name: value.number for value in enum.values} for enum in schema.enums
        }

    def field(self, slot: Slot, python: str = "") -> str:
        """A field that holds the values of a slot, which Python calls `python`."""
        form, shape = form_of(slot), bare(slot.shape)
        name = literal(str(slot.proto))
        named = f", python={literal(python)}" if python not in ("", slot.proto) else ""
        if isinstance(form.element, Pair):
            key, value = map(self.field, parts_of(form.element, self._layout.interface))
            return f"_f.entries({name}, {key}, {value}{named})"
        element = self.kind(form.element)
        if form.label is Label.MAP:
            assert form.key is not None
            return f"_f.mapping({name}, {self.kind(form.key)}, {element}{named})"
        if form.label is Label.REPEATED:
            assert isinstance(shape, Many)
            return f"_f.many({name}, {element}, _builtins.{shape.python.__name__}{named})"
        if form.skips_none:
            return f"_f.maybe({name}, {element}{named})"
        optional = ", optional=True" if slot.default is not Default.REQUIRED else ""
        return f"_f.one({name}, {element}{named}{optional})"

    def kind(self, shape: Shape) -> str:
        """One value, where a field or a container holds it."""
        match shape:
            case Scalar(python=python):
                return f"_k.{python.__name__.upper()}"
            case Chosen(base=part) | Registered(inner=part):
                return self.kind(part)
            case Moment(python=python):
                return "_k.DATETIME" if python is datetime else "_k.TIMEDELTA"
            case Null():
                return "_k.NONE"
            case Anything():
                return "_k.ANY"
            case Array():
                return "_k.TENSOR"
            case Enumerated():
                return enum_variable(self._classes.of(shape))
            case RecordRef():
                return f"{record_variable(self._classes.of(shape))}.kind"
            case _:
                return self._in_message(shape)

    def enum(self, shape: Enumerated) -> str:
        """An enum's kind, with the numbers of its members."""
        names = self._layout.names
        numbers = self._numbers[names.word(shape)]
        found = (
            f"{literal(identifier(member.name))}: "
            f"{numbers[names.enum_value(shape.python, member.name)]}"
            for member in shape.python
        )
        return f"_k.enumeration({self._classes.of(shape)}, {{{', '.join(found)}}})"

    def _in_message(self, shape: Shape) -> str:
        match shape:
            case OneOf(members=members):
                names = self._layout.names.members(shape)
                inner = (
                    f"_f.member({literal(names[canonical(member)])}, {self.kind(member)})"
                    for member in members
                )
                return f"_f.union_of({', '.join(inner)})"
            case Many() | Mapped() | Maybe():
                return f"_f.alone({self.field(wrapped(shape))})"
            case Fixed():
                slots = parts_of(shape, self._layout.interface)
                return f"_f.tuple_of({', '.join(map(self.field, slots))})"
            case _:
                raise AssertionError(f"{shape} is in no message")


def enum_variable(cls: str) -> str:
    """What the kind of an enum is called."""
    return f"_{cls}Kind"


def record_variable(cls: str) -> str:
    """What the record of a class is called."""
    return f"_{cls}Record"
