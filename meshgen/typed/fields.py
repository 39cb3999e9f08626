"""How a field of a message is filled and read, by its form."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from meshgen.typed.codec import Codec, as_is
from meshgen.typed.misfit import MisfitError, misfit, shown, unexpected
from meshgen.typed.shapes import Anything, Default, Many

# What a field that was left out reads as: its default is to be used.
ABSENT: Any = object()

Put = Callable[[Any, Any], None]
Get = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class FieldCodec:
    """One field: `put(message, value)` and `get(message)`, which may be `ABSENT`."""

    name: str
    put: Put
    get: Get


def single(name: str, codec: Codec, default: Default, *, skips_none: bool) -> FieldCodec:
    """A field with one value or none."""
    put = _put_message(name, codec) if codec.in_message else _put_scalar(name, codec)
    missing = None if skips_none and default is Default.REQUIRED else ABSENT
    if not skips_none and default is Default.REQUIRED:
        get = _get_required(name, codec)
    else:
        get = _get_present(name, codec, missing)
    return FieldCodec(name, _skipping_none(put) if skips_none else put, get)


def repeated(name: str, codec: Codec, shape: Many, default: Default) -> FieldCodec:
    """A field with any number of values."""
    make, read, write = shape.python, codec.read, codec.write
    accepts = accepts_many(shape)

    def put(message: Any, value: Any) -> None:
        if not accepts(value):
            raise unexpected(f"a {make.__name__}", value)
        values, field = [*value], getattr(message, name)
        with_index(values, (lambda item: write(item, field.add())) if codec.in_message else
                   (lambda item: field.append(write(item))))  # fmt: skip

    def get(message: Any) -> Any:
        field = getattr(message, name)
        if not field and default is not Default.REQUIRED:
            return ABSENT
        values = list(field) if read is as_is else with_index(field, read)
        return values if make is list else _made(make, values)

    return FieldCodec(name, put, get)


def mapped(name: str, key: Codec, codec: Codec, default: Default) -> FieldCodec:
    """A map."""

    def put(message: Any, value: Any) -> None:
        if not isinstance(value, Mapping):
            raise unexpected("a dict", value)
        field = getattr(message, name)
        for each, item in value.items():
            try:
                if codec.in_message:
                    codec.write(item, field[key.write(each)])
                else:
                    field[key.write(each)] = codec.write(item)
            except MisfitError as exc:
                raise exc.within(f"[{each!r}]") from exc

    def get(message: Any) -> Any:
        field = getattr(message, name)
        if not field and default is not Default.REQUIRED:
            return ABSENT
        found = {}
        for each, item in field.items():
            try:
                found[key.read(each)] = codec.read(item)
            except MisfitError as exc:
                raise exc.within(f"[{each!r}]") from exc
        return found

    return FieldCodec(name, put, get)


def entries(name: str, pair: Codec, default: Default) -> FieldCodec:
    """A dict as repeated messages with a key and a value."""
    inner = repeated(name, pair, _PAIRS, default)

    def put(message: Any, value: Any) -> None:
        if not isinstance(value, Mapping):
            raise unexpected("a dict", value)
        inner.put(message, [*value.items()])

    def get(message: Any) -> Any:
        pairs = inner.get(message)
        return pairs if pairs is ABSENT else _made(dict, pairs)

    return FieldCodec(name, put, get)


def with_index(values: Iterable[Any], change: Callable[[Any], Any]) -> list[Any]:
    """Change each; what does not fit is told with its index."""
    changed: list[Any] = []
    try:
        for value in values:
            changed.append(change(value))
    except MisfitError as exc:
        raise exc.within(f"[{len(changed)}]") from exc
    return changed


def accepts_many(shape: Many) -> Callable[[Any], bool]:
    """Tells whether a value can be what a list, tuple or set is made of."""
    if shape.python in (set, frozenset):
        return lambda value: isinstance(value, Set)
    if not shape.loose:
        return lambda value: isinstance(value, list | tuple)
    return lambda value: (
        isinstance(value, Iterable) and not isinstance(value, str | bytes | bytearray | Mapping)
    )


def _made(make: Callable[[Any], Any], values: list[Any]) -> Any:
    try:
        return make(values)
    except TypeError:
        raise misfit(f"{shown(values)} cannot be the keys of a dict or in a set") from None


def _put_scalar(name: str, codec: Codec) -> Put:
    write = codec.write
    return lambda message, value: setattr(message, name, write(value))


def _put_message(name: str, codec: Codec) -> Put:
    write = codec.write

    def put(message: Any, value: Any) -> None:
        field = getattr(message, name)
        field.SetInParent()  # an empty message is there, too
        write(value, field)

    return put


def _skipping_none(put: Put) -> Put:
    def put_if_any(message: Any, value: Any) -> None:
        if value is not None:
            put(message, value)

    return put_if_any


def _get_required(name: str, codec: Codec) -> Get:
    read, of = codec.read, attrgetter(name)
    if not codec.in_message:
        return of if read is as_is else lambda message: read(of(message))

    def get(message: Any) -> Any:
        if not message.HasField(name):
            raise misfit("is required")
        return read(of(message))

    return get


def _get_present(name: str, codec: Codec, missing: Any) -> Get:
    read, of = codec.read, attrgetter(name)
    return lambda message: read(of(message)) if message.HasField(name) else missing


_PAIRS = Many(Anything())  # whatever is in them, their codec is given
