"""How the fields of a message are filled from a value's parts, and records, tuples and unions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass
from typing import Any

from ._kinds import Kind
from ._unset import UNSET

# What the oneof of every union is called.
_ONEOF = "value"


@dataclass(frozen=True, slots=True)
class Field:
    """One field: `put(message, value)` and `get(message)`, which is UNSET where it is left out."""

    name: str
    put: Callable[[Any, Any], None]
    get: Callable[[Any], Any]
    # What Python calls the value, and the container that it is, if it is one.
    python: str
    container: tuple[type, ...] = ()


def one(name: str, kind: Kind, *, python: str = "", optional: bool = False) -> Field:
    """A value that is there; if it is optional, the service or its sender may leave it out."""
    put = _put(name, kind)
    if optional:
        return Field(name, put, _get_present(name, kind, UNSET), python or name)
    return Field(name, put, lambda message: kind.read(getattr(message, name)), python or name)


def maybe(name: str, kind: Kind, *, python: str = "") -> Field:
    """A value or None, which is an absent field."""
    put = _put(name, kind)

    def put_if_any(message: Any, value: Any) -> None:
        if value is not None:
            put(message, value)

    return Field(name, put_if_any, _get_present(name, kind, None), python or name)


def many(name: str, kind: Kind, make: Callable[[Iterable[Any]], Any], *, python: str = "") -> Field:
    """Any number of values, in what `make` makes of them."""

    def put(message: Any, value: Any) -> None:
        field = getattr(message, name)
        for item in value:
            if kind.in_message:
                kind.write(item, field.add())
            else:
                field.append(kind.write(item))

    def get(message: Any) -> Any:
        return make(kind.read(item) for item in getattr(message, name))

    types = (set, frozenset, Set) if make in (set, frozenset) else (list, tuple)
    return Field(name, put, get, python or name, types)


def mapping(name: str, key: Kind, kind: Kind, *, python: str = "") -> Field:
    """A dict in a map."""

    def put(message: Any, value: Any) -> None:
        field = getattr(message, name)
        for each, item in value.items():
            if kind.in_message:
                kind.write(item, field[key.write(each)])
            else:
                field[key.write(each)] = kind.write(item)

    def get(message: Any) -> Any:
        found = getattr(message, name).items()
        return {key.read(each): kind.read(item) for each, item in found}

    return Field(name, put, get, python or name, (Mapping,))


def entries(name: str, key: Field, value: Field, *, python: str = "") -> Field:
    """A dict as repeated messages, each with a key and a value."""
    pairs = many(name, tuple_of(key, value), dict)
    return Field(
        name,
        lambda message, value: pairs.put(message, value.items()),
        pairs.get,
        python or name,
        (Mapping,),
    )


def alone(field: Field) -> Kind:
    """A list, a dict or an optional value where only a message can be: in one with one field."""
    return Kind(
        lambda value, message: field.put(message, value),
        field.get,
        lambda value: isinstance(value, field.container or object),
        in_message=True,
    )


def tuple_of(*fields: Field) -> Kind:
    """A tuple of so many values."""

    def write(value: Any, message: Any) -> None:
        if len(value) != len(fields):
            raise ValueError(f"expected a tuple of {len(fields)}, got one of {len(value)}")
        for field, item in zip(fields, value, strict=True):
            field.put(message, item)

    return Kind(
        write,
        lambda message: tuple(field.get(message) for field in fields),
        lambda value: isinstance(value, tuple) and len(value) == len(fields),
        tuple,
        in_message=True,
    )


def union_of(*fields: tuple[Field, Kind]) -> Kind:
    """One of several kinds, each in a member of a oneof."""
    by_name = {field.name: field for field, _ in fields}

    def matching(value: Any) -> list[Field]:
        certain = [field for field, kind in fields if kind.exact is type(value)]
        return certain or [field for field, kind in fields if kind.matches(value)]

    def write(value: Any, message: Any) -> None:
        for field in matching(value):
            try:
                field.put(message, value)
                return
            except (TypeError, ValueError, AttributeError):
                message.ClearField(field.name)
        raise TypeError(f"expected one of {', '.join(by_name)}, got {value!r}")

    def read(message: Any) -> Any:
        name = message.WhichOneof(_ONEOF)
        if name is None:
            raise ValueError(f"expected one of {', '.join(by_name)}, got none that is known here")
        return by_name[name].get(message)

    return Kind(write, read, lambda value: bool(matching(value)), in_message=True)


def member(name: str, kind: Kind) -> tuple[Field, Kind]:
    """One member of a union."""
    return one(name, kind), kind


class Record:
    """The kind of a class with named fields, which are told later: it may contain itself."""

    def __init__(self, cls: type, *, is_dict: bool = False) -> None:
        self._cls: Any = cls
        self._is_dict = is_dict
        self._fields: tuple[Field, ...] = ()
        self.kind = Kind(
            self._write,
            self._read,
            self._matches,
            dict if is_dict else cls,
            in_message=True,
        )

    def define(self, *fields: Field) -> None:
        """Tell the fields."""
        self._fields = fields

    def _write(self, value: Any, message: Any) -> None:
        if not self._is_dict and not isinstance(value, self._cls):
            raise TypeError(f"expected {self._cls.__name__}, got {value!r}")
        for field in self._fields:
            part = value.get(field.python, UNSET) if self._is_dict else getattr(value, field.python)
            if part is not UNSET:
                field.put(message, part)

    def _read(self, message: Any) -> Any:
        return self._cls(**read_fields(self._fields, message))

    def _matches(self, value: Any) -> bool:
        if not self._is_dict:
            return isinstance(value, self._cls)
        return isinstance(value, Mapping) and {*value} <= {field.python for field in self._fields}


def read_fields(fields: Iterable[Field], message: Any) -> dict[str, Any]:
    """What a message holds, without what was left out."""
    found = {field.python: field.get(message) for field in fields}
    return {name: value for name, value in found.items() if value is not UNSET}


def _put(name: str, kind: Kind) -> Callable[[Any, Any], None]:
    if not kind.in_message:
        return lambda message, value: setattr(message, name, kind.write(value))

    def put(message: Any, value: Any) -> None:
        field = getattr(message, name)
        field.SetInParent()  # an empty message is there, too
        kind.write(value, field)

    return put


def _get_present(name: str, kind: Kind, missing: Any) -> Callable[[Any], Any]:
    def get(message: Any) -> Any:
        return kind.read(getattr(message, name)) if message.HasField(name) else missing

    return get
