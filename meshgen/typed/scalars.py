"""Values that are one Protobuf scalar: how each type is checked, written and read.

An `int` must be one of 64 bits with a sign. Where a `float` is asked for an `int` will do, as for
type checkers. Dates, Decimals and UUIDs are text.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

from meshgen.typed.codec import Codec, as_is
from meshgen.typed.misfit import misfit, shown, unexpected
from meshgen.typed.shapes import Chosen, Enumerated, Scalar

_MIN, _MAX = -(2**63), 2**63 - 1


def scalar_codec(shape: Scalar) -> Codec:
    """The codec of one of `SCALARS`."""
    write, read = _CODECS[shape.python]
    return Codec(
        in_message=False, write=write, read=read, matches=_MATCHES[shape.python], exact=shape.python
    )


def enum_codec(shape: Enumerated, number_of: dict[str, int]) -> Codec:
    """The codec of an enum whose members have these numbers by name."""
    cls = shape.python
    numbers = {member: number_of[member.name] for member in cls}
    members = {number: member for member, number in numbers.items()}
    names = ", ".join(member.name for member in cls)

    def write(value: Any) -> int:
        # By type, too: members of another IntEnum or StrEnum can be equal to ours.
        if type(value) is cls:
            return numbers[value]
        raise unexpected(f"a member of {cls.__name__}", value)

    def read(number: int) -> enum.Enum:
        member = members.get(number)
        if member is None:
            raise misfit(f"expected one of {names}; {number or 'none'} is no member")
        return member

    return Codec(
        in_message=False,
        write=write,
        read=read,
        matches=lambda value: type(value) is cls,
        exact=cls,
    )


def chosen_codec(shape: Chosen, base: Codec) -> Codec:
    """The codec of a Literal over that of its type."""
    # With their types: 1 and True are equal, and a Literal tells them apart.
    allowed = {(type(value), value) for value in shape.values}
    names = ", ".join(repr(value) for value in shape.values)

    types = {type(value) for value in shape.values}

    def matches(value: Any) -> bool:
        return type(value) in types and (type(value), value) in allowed

    def check(value: Any) -> Any:
        if not matches(value):
            raise unexpected(f"one of {names}", value)
        return value

    return Codec(
        in_message=False,
        write=lambda value: base.write(check(value)),
        read=lambda value: check(base.read(value)),
        matches=matches,
    )


def _write_bool(value: Any) -> bool:
    if value is True or value is False:
        return value
    if type(value).__name__ in ("bool", "bool_") and type(value).__module__ == "numpy":
        return bool(value)
    raise unexpected("a bool", value)


def write_int(value: Any) -> int:
    """An int of 64 bits; numpy's ints are some, too."""
    number = value if type(value) is int else _index(value)
    if _MIN <= number <= _MAX:
        return number
    raise misfit(f"{shown(value)} is beyond the 64 bits that an int has in Protobuf")


def _index(value: Any) -> int:
    if not hasattr(value, "__index__") or hasattr(value, "__len__"):
        raise unexpected("an int", value)
    try:
        return int(value.__index__())
    except TypeError:  # an array that is no single number
        raise unexpected("an int", value) from None


def _write_float(value: Any) -> float:
    if type(value) is float:
        return value
    if not (_is_int(value) or isinstance(value, float) or _is_numpy_float(value)):
        raise unexpected("a float", value)
    try:
        return float(value)
    except OverflowError:
        raise misfit(f"{shown(value)} is beyond what a float can be") from None


def write_str(value: Any) -> str:
    """Text that UTF-8 can hold: no lone surrogates."""
    if type(value) is str and value.isascii():
        return value
    if not isinstance(value, str):
        raise unexpected("a str", value)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise misfit(f"{shown(value)} has lone surrogates, which UTF-8 cannot hold") from None
    return str.__str__(value)


def _write_bytes(value: Any) -> bytes:
    if type(value) is bytes:
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    raise unexpected("bytes", value)


def _write_date(value: Any) -> str:
    if not _is_date(value):
        raise unexpected("a date", value)
    return str(value.isoformat())


def _text_writer(cls: type) -> Callable[[Any], str]:
    def write(value: Any) -> str:
        if not isinstance(value, cls):
            raise unexpected(cls.__name__, value)
        return str(value)

    return write


def _text_reader(wanted: str, parse: Callable[[str], Any]) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        try:
            return parse(text)
        except (ValueError, InvalidOperation):
            raise misfit(f"expected {wanted}, got {text[:60]!r}") from None

    return read


def _is_int(value: Any) -> bool:
    return type(value) is int or (hasattr(value, "__index__") and not hasattr(value, "__len__"))


def _is_numpy_float(value: Any) -> bool:
    return type(value).__module__ == "numpy" and type(value).__name__ in ("float16", "float32")


def _is_date(value: Any) -> bool:
    return isinstance(value, date) and not isinstance(value, datetime)


def _is_a(cls: type | tuple[type, ...]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, cls)


_CODECS: dict[type, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    bool: (_write_bool, as_is),
    int: (write_int, as_is),
    float: (_write_float, as_is),
    str: (write_str, as_is),
    bytes: (_write_bytes, as_is),
    date: (_write_date, _text_reader("a date as YYYY-MM-DD", date.fromisoformat)),
    Decimal: (_text_writer(Decimal), _text_reader("a decimal number", Decimal)),
    UUID: (_text_writer(UUID), _text_reader("a UUID", UUID)),
}
_MATCHES: dict[type, Callable[[Any], bool]] = {
    bool: _is_a(bool),
    int: _is_int,
    float: lambda value: isinstance(value, float) or _is_int(value) or _is_numpy_float(value),
    str: _is_a(str),
    bytes: _is_a((bytes, bytearray, memoryview)),
    date: _is_date,
    Decimal: _is_a(Decimal),
    UUID: _is_a(UUID),
}
