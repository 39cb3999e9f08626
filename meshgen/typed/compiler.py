"""From shapes to codecs, each compiled once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from meshgen.typed import fields, parts, unions
from meshgen.typed.canonical import canonical
from meshgen.typed.codec import Codec
from meshgen.typed.fields import ABSENT, FieldCodec
from meshgen.typed.forms import Label, form_of, wrapped
from meshgen.typed.layout import Layout, parts_of
from meshgen.typed.misfit import MisfitError, misfit
from meshgen.typed.scalars import chosen_codec, enum_codec, scalar_codec
from meshgen.typed.schema import Schema
from meshgen.typed.shapes import (
    Anything,
    Array,
    Chosen,
    Default,
    Enumerated,
    Many,
    Mapped,
    Maybe,
    Moment,
    Null,
    OneOf,
    RecordRef,
    Registered,
    Scalar,
    Shape,
    Slot,
)
from meshgen.typed.tensor import tensor_codec
from meshgen.typed.wellknown import well_known_codec


class Compiler:
    """Makes the codecs of one package."""

    def __init__(self, layout: Layout, schema: Schema) -> None:
        self._layout = layout
        self._numbers = {
            enum.name: {value.name: value.number for value in enum.values} for enum in schema.enums
        }
        self._codecs: dict[Shape, Codec] = {}

    def field(self, slot: Slot) -> FieldCodec:
        """The codec of a field that holds the values of a slot."""
        if isinstance(slot.shape, Registered):
            return self._registered_field(slot, slot.shape)
        form, shape, name = form_of(slot), slot.shape, slot.proto
        if form.label is Label.MAP:
            assert form.key is not None
            return fields.mapped(
                name, self.element(form.key), self.element(form.element), slot.default
            )
        element = self.element(form.element)
        if form.label is not Label.REPEATED:
            return fields.single(name, element, slot.default, skips_none=form.skips_none)
        if isinstance(shape, Many):
            return fields.repeated(name, element, shape, slot.default)
        return fields.entries(name, element, slot.default)

    def element(self, shape: Shape) -> Codec:
        """The codec of one value, where a field or a container holds it."""
        if shape not in self._codecs:
            self._codecs[shape] = self._made(shape)
        return self._codecs[shape]

    def _made(self, shape: Shape) -> Codec:
        match shape:
            case Scalar():
                return scalar_codec(shape)
            case Chosen(base=base):
                return chosen_codec(shape, self.element(base))
            case Enumerated():
                return self._enum(shape)
            case Moment() | Null() | Anything():
                return well_known_codec(shape)
            case Array():
                return tensor_codec(shape)
            case Registered():
                return _converted(self.element(shape.inner), shape)
            case _:
                return self._in_message(shape)

    def _in_message(self, shape: Shape) -> Codec:
        match shape:
            case RecordRef():
                return self._record(shape)
            case OneOf(members=members):
                names = self._layout.names.members(shape)
                return unions.union_codec(
                    [self._member(member, names[canonical(member)]) for member in members]
                )
            case Many() | Mapped() | Maybe():
                return self._wrapper(shape)
            case _:
                slots = parts_of(shape, self._layout.interface)
                return parts.tuple_codec([self.field(slot) for slot in slots])

    def _enum(self, shape: Enumerated) -> Codec:
        names = self._layout.names
        numbers = self._numbers[names.word(shape)]
        return enum_codec(
            shape,
            {
                member.name: numbers[names.enum_value(shape.python, member.name)]
                for member in shape.python
            },
        )

    def _member(self, shape: Shape, name: str) -> tuple[Codec, FieldCodec]:
        codec = self.element(shape)
        # The oneof itself tells which member is there.
        return codec, fields.single(name, codec, Default.OTHER, skips_none=False)

    def _record(self, shape: RecordRef) -> Codec:
        # A stand-in first: its fields may hold the record itself.
        made: list[Codec] = []
        record = self._layout.interface.records[shape.hint]
        self._codecs[shape] = Codec(
            in_message=True,
            write=lambda value, message: made[0].write(value, message),
            read=lambda message: made[0].read(message),
            matches=lambda value: made[0].matches(value),
            exact=parts.type_of(record),
        )
        made.append(parts.record_codec(record, [self.field(slot) for slot in record.slots]))
        return made[0]

    def _wrapper(self, shape: Many | Mapped | Maybe) -> Codec:
        field = self.field(wrapped(shape))
        if isinstance(shape, Many):
            return parts.wrapper_codec(field, fields.accepts_many(shape), shape.python)
        if isinstance(shape, Mapped):
            return parts.wrapper_codec(field, lambda value: isinstance(value, Mapping), dict)
        inner = self.element(shape.item)
        return parts.wrapper_codec(field, lambda value: value is None or inner.matches(value), None)

    def _registered_field(self, slot: Slot, shape: Registered) -> FieldCodec:
        inner = self.field(
            Slot(python=slot.python, proto=slot.proto, shape=shape.inner, default=slot.default)
        )
        to_message, from_message = _guarded(shape)

        def get(message: Any) -> Any:
            value = inner.get(message)
            return value if value is ABSENT else from_message(value)

        return FieldCodec(
            inner.name, lambda message, value: inner.put(message, to_message(value)), get
        )


def _converted(inner: Codec, shape: Registered) -> Codec:
    to_message, from_message = _guarded(shape)
    write = inner.write
    return Codec(
        in_message=inner.in_message,
        write=(lambda value, message: write(to_message(value), message))
        if inner.in_message
        else (lambda value: write(to_message(value))),
        read=lambda value: from_message(inner.read(value)),
        matches=lambda value: type(value) is shape.python,
        exact=shape.python,
    )


def _guarded(shape: Registered) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """The user's conversions, whose errors say that a value does not fit."""

    def to_message(value: Any) -> Any:
        if type(value) is not shape.python:
            raise misfit(f"expected {shape.python.__name__}, got {type(value).__name__}")
        return _tried(shape.to_message, value)

    return to_message, lambda value: _tried(shape.from_message, value)


def _tried(convert: Callable[[Any], Any], value: Any) -> Any:
    try:
        return convert(value)
    except MisfitError:
        raise
    except Exception as exc:  # the user's
        raise misfit(str(exc) or type(exc).__name__) from exc
