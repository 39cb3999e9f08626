"""From a type hint to its shape."""

from __future__ import annotations

import collections.abc
import enum
import inspect
import types
import typing
from collections.abc import Hashable
from dataclasses import replace
from typing import Any

from meshgen.typed.arrayhint import array_dtype
from meshgen.typed.barehint import bare_hint
from meshgen.typed.canonical import canonical
from meshgen.typed.comments import class_comment
from meshgen.typed.fieldname import FieldName, check_distinct
from meshgen.typed.names import are_namesakes
from meshgen.typed.records import FoundField, find_record, is_reference_to
from meshgen.typed.registry import registration_of
from meshgen.typed.shapes import (
    MOMENTS,
    SCALARS,
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
    Record,
    RecordRef,
    Registered,
    Scalar,
    Shape,
    Slot,
)
from meshgen.typed.untypable import UntypableError

_ABC = collections.abc
_MANY: dict[Any, tuple[type, bool]] = {
    list: (list, False),
    set: (set, False),
    frozenset: (frozenset, False),
    _ABC.Sequence: (list, True),
    _ABC.MutableSequence: (list, True),
    _ABC.Collection: (list, True),
    _ABC.Iterable: (list, True),
    _ABC.Set: (set, True),
    _ABC.MutableSet: (set, True),
}
_DICTS = (dict, _ABC.Mapping, _ABC.MutableMapping)


class HintReader:
    """Reads hints; `records` are the classes with fields that it met."""

    def __init__(self) -> None:
        self.records: dict[Hashable, Record] = {}

    def read(self, hint: Any) -> Shape:
        """The shape of one hint.

        Raises:
            UntypableError: It has none; the text says why.
        """
        known = dict(self.records)
        try:
            return self.shape(hint)
        except UntypableError:
            # Records that are fine may refer to the one that is not.
            self.records = known
            raise
        except RecursionError:
            self.records = known
            raise UntypableError("contains itself, which only classes with fields can") from None

    def slot(self, field: FoundField) -> Slot:
        """A named value with its hint and default, as a field of a message.

        Raises:
            UntypableError: Its name or its hint has no place in Protobuf.
        """
        shape = self.shape(field.hint)
        if field.default is Default.NONE and not isinstance(shape, Maybe | Anything | Null):
            shape = Maybe(shape)  # `x: int = None`
        return Slot(
            python=field.name,
            proto=FieldName(field.name),
            shape=shape,
            default=field.default,
            argument=field.argument,
        )

    def shape(self, hint: Any) -> Shape:
        """The shape of a hint inside of another."""
        hint = bare_hint(hint)
        for rule in (_simple, _registered, _array, _collection, _choice, _record):
            shape = rule(self, hint)
            if shape is not None:
                return shape
        raise UntypableError(_why_not(hint))

    def union(self, members: tuple[Any, ...]) -> Shape:
        """The shape of a Union."""
        given = [member for member in members if member is not types.NoneType]
        shapes = list(dict.fromkeys(self.shape(member) for member in given))
        if any(isinstance(shape, Anything) for shape in shapes):
            return Anything()
        shapes = [s for s in shapes if not (isinstance(s, Chosen) and s.base in shapes)]
        if len({canonical(shape) for shape in shapes}) < len(shapes):
            raise UntypableError("is a union with members that are the same in Protobuf")
        shape = shapes[0] if len(shapes) == 1 else OneOf(tuple(shapes))
        return Maybe(shape) if len(given) < len(members) else shape

    def record(self, hint: Any) -> Shape | None:
        """The shape of a class with named fields."""
        for known in self.records:
            if hint == known or is_reference_to(hint, known):
                return RecordRef(known)
        found = find_record(hint)
        if found is None:
            return None
        cls = found.python
        self._refuse_namesake(hint)
        made = Record(hint=hint, python=cls, kind=found.kind, slots=(), comment=class_comment(cls))
        self.records[hint] = made  # before its fields, which may contain it
        slots = tuple(self._field(cls, field) for field in found.fields)
        check_distinct((slot.python, slot.proto) for slot in slots)
        self.records[hint] = replace(made, slots=slots)
        return RecordRef(hint)

    def _refuse_namesake(self, hint: Any) -> None:
        known: Any
        for known in self.records:
            if are_namesakes(hint, known):
                raise UntypableError(
                    f"is {hint.__name__}, which is the same message as {known.__name__}: names "
                    "there do not differ by case or by '_'; rename one of them"
                )

    def _field(self, owner: type, field: FoundField) -> Slot:
        try:
            return self.slot(field)
        except UntypableError as exc:
            raise UntypableError(
                f"has a {owner.__name__} in it, whose field {field.name!r} {exc}"
            ) from exc

    def shapes(self, hints: tuple[Any, ...]) -> tuple[Shape, ...]:
        """The shapes of several hints."""
        return tuple(map(self.shape, hints))


def _simple(reader: HintReader, hint: Any) -> Shape | None:
    if hint is Any or hint is object or hint is inspect.Parameter.empty:
        return Anything()
    if hint is None or hint is types.NoneType:
        return Null()
    if not isinstance(hint, type):
        return None
    if hint in SCALARS:
        return Scalar(hint)
    return Moment(hint) if hint in MOMENTS else None


def _registered(reader: HintReader, hint: Any) -> Shape | None:
    found = registration_of(hint)
    if found is None:
        return None
    inner = reader.shape(found.hint)
    return Registered(hint, found.to_message, found.from_message, inner)


def _array(reader: HintReader, hint: Any) -> Shape | None:
    found = array_dtype(hint)
    return None if found is None else Array(found or None)


def _collection(reader: HintReader, hint: Any) -> Shape | None:
    origin, args = typing.get_origin(hint) or hint, typing.get_args(hint)
    if origin is tuple:
        if len(args) == 2 and args[1] is Ellipsis or hint is tuple:
            return Many(reader.shape(args[0] if args else Any), tuple)
        return Fixed(reader.shapes(args))
    if not isinstance(origin, type):
        return None
    if origin in _DICTS:
        return Mapped(*reader.shapes(args or (str, Any)))
    if origin in _MANY:
        python, loose = _MANY[origin]
        return Many(reader.shape(args[0] if args else Any), python, loose)
    return None


def _choice(reader: HintReader, hint: Any) -> Shape | None:
    origin = typing.get_origin(hint)
    if origin is typing.Union or origin is types.UnionType:
        return reader.union(typing.get_args(hint))
    if origin is typing.Literal:
        return _literal(typing.get_args(hint))
    if not isinstance(hint, type) or not issubclass(hint, enum.Enum):
        return None
    if issubclass(hint, enum.Flag):
        raise UntypableError(f"is the flags {hint.__name__}, whose combinations have no names")
    check_distinct((name, FieldName(name)) for name in hint.__members__ if hint[name].name == name)
    return Enumerated(hint)


def _literal(values: tuple[Any, ...]) -> Shape:
    chosen: dict[Scalar | Enumerated, list[Any]] = {}
    for value in values:
        if value is not None:
            base = Enumerated(type(value)) if isinstance(value, enum.Enum) else Scalar(type(value))
            chosen.setdefault(base, []).append(value)
    shapes = tuple(Chosen(base, tuple(found)) for base, found in chosen.items())
    if not shapes:
        return Null()
    shape = shapes[0] if len(shapes) == 1 else OneOf(shapes)
    return Maybe(shape) if None in values else shape


def _record(reader: HintReader, hint: Any) -> Shape | None:
    return reader.record(hint)


def _why_not(hint: Any) -> str:
    name = getattr(hint, "__name__", None) or str(hint)
    if str(getattr(hint, "__module__", "")).startswith("starlette."):
        return f"is Starlette's {name}, which only HTTP has"
    if name in ("DeploymentResponse", "DeploymentResponseGenerator", "ObjectRef"):
        return f"is {name}, which stands for the value of another call; give the value itself"
    return (
        f"is {name}, which has no mapping to Protobuf; "
        "give it one with meshgen.typed.register(), or use another type"
    )
