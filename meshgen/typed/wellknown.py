"""Values that are one of Protobuf's own messages: moments, durations, and whatever JSON can hold.

A datetime comes back aware, in UTC; a naive one is taken as UTC. A `Value` has its numbers as
doubles: ints are exact up to 2**53, and whole numbers come back as ints.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from meshgen.typed.codec import Codec
from meshgen.typed.misfit import MisfitError, misfit, shown, unexpected
from meshgen.typed.scalars import write_str
from meshgen.typed.shapes import Anything, Moment, Null

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# The beginning of year 1 and the end of year 9999.
_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799
# What google.protobuf.Duration may be: 10 000 years.
_LONGEST = 315_576_000_000
_EXACT = 2**53


def well_known_codec(shape: Moment | Null | Anything) -> Codec:
    """The codec of a shape for which Protobuf has a message."""
    if isinstance(shape, Null):
        return Codec(
            in_message=True, write=_write_null, read=_read_null, matches=lambda value: value is None
        )
    if isinstance(shape, Anything):
        return Codec(in_message=True, write=write_value, read=read_value, matches=lambda _: True)
    cls = shape.python
    write, read = (
        (_write_datetime, _read_datetime) if cls is datetime else (_write_delta, _read_delta)
    )
    return Codec(
        in_message=True,
        write=write,
        read=read,
        matches=lambda value: isinstance(value, cls),
        exact=cls,
    )


def write_value(value: Any, message: Any) -> None:
    """Any value that JSON can hold into a google.protobuf.Value."""
    if value is None:
        message.null_value = 0
    elif isinstance(value, bool):
        message.bool_value = value
    elif isinstance(value, str):
        message.string_value = write_str(value)
    elif isinstance(value, int | float):
        message.number_value = _double(value)
    elif isinstance(value, list | tuple):
        _write_list(value, message.list_value)
    elif isinstance(value, Mapping):
        _write_struct(value, message.struct_value)
    else:
        raise misfit(f"{shown(value)} is nothing that JSON can hold; give its method a hint")


def read_value(message: Any) -> Any:
    """What is in a google.protobuf.Value."""
    match message.WhichOneof("kind"):
        case "string_value":
            return message.string_value
        case "number_value":
            number = _finite(message.number_value)
            return int(number) if number.is_integer() and abs(number) <= _EXACT else number
        case "bool_value":
            return message.bool_value
        case "list_value":
            return [read_value(item) for item in message.list_value.values]
        case "struct_value":
            return {key: read_value(item) for key, item in message.struct_value.fields.items()}
        case _:
            return None


def _double(value: float) -> float:
    if isinstance(value, int) and abs(value) > _EXACT:
        raise misfit(f"{shown(value)} is beyond 2**53, up to which a Value is exact; hint an int")
    return _finite(float(value))


def _finite(number: float) -> float:
    if not math.isfinite(number):
        raise misfit(f"{number!r} is nothing that JSON can hold; hint a float")
    return number


def _write_list(values: Any, message: Any) -> None:
    message.SetInParent()  # an empty list is one, too
    for index, item in enumerate(values):
        try:
            write_value(item, message.values.add())
        except MisfitError as exc:
            raise exc.within(f"[{index}]") from exc


def _write_struct(values: Mapping[Any, Any], message: Any) -> None:
    message.SetInParent()
    for key, item in values.items():
        if not isinstance(key, str):
            raise unexpected("a str as key", key)
        try:
            write_value(item, message.fields[write_str(key)])
        except MisfitError as exc:
            raise exc.within(f"[{key!r}]") from exc


def _write_null(value: Any, message: Any) -> None:
    if value is not None:
        raise unexpected("None", value)
    message.null_value = 0


def _read_null(message: Any) -> None:
    if message.WhichOneof("kind") not in (None, "null_value"):
        raise unexpected("null", read_value(message))


def _write_datetime(value: Any, message: Any) -> None:
    if not isinstance(value, datetime):
        raise unexpected("a datetime", value)
    since = (value if value.tzinfo else value.replace(tzinfo=UTC)) - _EPOCH
    seconds = since.days * 86400 + since.seconds
    if not _FIRST_SECOND <= seconds <= _LAST_SECOND:
        raise misfit(f"{shown(value)} is not between the years 1 and 9999 of UTC")
    message.seconds, message.nanos = seconds, since.microseconds * 1000


def _read_datetime(message: Any) -> datetime:
    seconds, nanos = message.seconds, message.nanos
    if not (_FIRST_SECOND <= seconds <= _LAST_SECOND and 0 <= nanos < 10**9):
        raise misfit(f"{seconds} s and {nanos} ns is no moment between the years 1 and 9999")
    return _EPOCH + timedelta(seconds=seconds, microseconds=nanos // 1000)


def _write_delta(value: Any, message: Any) -> None:
    if not isinstance(value, timedelta):
        raise unexpected("a timedelta", value)
    micros = (value.days * 86400 + value.seconds) * 10**6 + value.microseconds
    seconds, rest = divmod(abs(micros), 10**6)
    if seconds > _LONGEST:
        raise misfit(f"{shown(value)} is longer than the 10 000 years of a Duration")
    sign = 1 if micros >= 0 else -1
    message.seconds, message.nanos = sign * seconds, sign * rest * 1000


def _read_delta(message: Any) -> timedelta:
    seconds, nanos = message.seconds, message.nanos
    if abs(seconds) > _LONGEST or abs(nanos) >= 10**9 or seconds * nanos < 0:
        raise misfit(f"{seconds} s and {nanos} ns is no duration of at most 10 000 years")
    return timedelta(seconds=seconds, microseconds=int(nanos / 1000))
