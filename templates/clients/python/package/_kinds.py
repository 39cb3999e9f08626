"""How single values are written to Protobuf and read from it, a `Kind` for each type."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID as _UUID

from ._tensor import Tensor

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EXACT = 2**53


@dataclass(frozen=True, slots=True)
class Kind:
    """A scalar is written by returning what to assign, a message by filling the one given."""

    write: Callable[..., Any]
    read: Callable[[Any], Any]
    # Whether a value can be one of this kind, and certainly is: for unions.
    matches: Callable[[Any], bool]
    exact: type | None = None
    in_message: bool = False


def _same(value: Any) -> Any:
    return value


def _is(*types: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, types)


def _is_date(value: Any) -> bool:
    return isinstance(value, date) and not isinstance(value, datetime)


BOOL = Kind(_same, _same, _is(bool), bool)
INT = Kind(_same, _same, _is(int), int)
FLOAT = Kind(_same, _same, _is(int, float), float)
STR = Kind(_same, _same, _is(str), str)
BYTES = Kind(_same, _same, _is(bytes), bytes)
DATE = Kind(lambda value: value.isoformat(), date.fromisoformat, _is_date, date)
DECIMAL = Kind(str, Decimal, _is(Decimal), Decimal)
UUID = Kind(str, _UUID, _is(_UUID), _UUID)


def enumeration(cls: type[enum.Enum], numbers: Mapping[str, int]) -> Kind:
    """An enum whose members have these numbers."""
    members = {number: cls[name] for name, number in numbers.items()}

    def write(value: Any) -> int:
        if not isinstance(value, cls):
            raise TypeError(f"expected a member of {cls.__name__}, got {value!r}")
        return numbers[value.name]

    def read(number: int) -> enum.Enum:
        if number not in members:
            raise ValueError(
                f"{number} is no {cls.__name__} that this client knows; generate it anew"
            )
        return members[number]

    return Kind(write, read, _is(cls), cls)


def _write_datetime(value: datetime, message: Any) -> None:
    since = (value if value.tzinfo else value.replace(tzinfo=UTC)) - _EPOCH
    message.seconds = since.days * 86400 + since.seconds
    message.nanos = since.microseconds * 1000


def _read_datetime(message: Any) -> datetime:
    return _EPOCH + timedelta(seconds=message.seconds, microseconds=message.nanos // 1000)


def _write_timedelta(value: timedelta, message: Any) -> None:
    micros = value // timedelta(microseconds=1)
    seconds, rest = divmod(abs(micros), 10**6)
    sign = 1 if micros >= 0 else -1
    message.seconds, message.nanos = sign * seconds, sign * rest * 1000


def _read_timedelta(message: Any) -> timedelta:
    return timedelta(seconds=message.seconds, microseconds=int(message.nanos / 1000))


def _write_any(value: Any, message: Any) -> None:
    if value is None:
        message.null_value = 0
    elif isinstance(value, bool):
        message.bool_value = value
    elif isinstance(value, str):
        message.string_value = value
    elif isinstance(value, (int, float)):
        message.number_value = _double(value)
    elif isinstance(value, Mapping):
        message.struct_value.SetInParent()  # an empty one is there, too
        for key, item in value.items():
            _write_any(item, message.struct_value.fields[key])
    elif isinstance(value, (list, tuple)):
        message.list_value.SetInParent()
        for item in value:
            _write_any(item, message.list_value.values.add())
    else:
        raise TypeError(f"expected what JSON can hold, got {type(value).__name__}")


def _double(value: float) -> float:
    if isinstance(value, int) and abs(value) > _EXACT:
        raise ValueError(f"{value} is beyond 2**53, up to which JSON's numbers are exact")
    return float(value)


def _read_any(message: Any) -> Any:
    kind = message.WhichOneof("kind")
    if kind == "number_value":
        number = message.number_value
        return int(number) if number.is_integer() and abs(number) <= _EXACT else number
    if kind == "list_value":
        return [_read_any(item) for item in message.list_value.values]
    if kind == "struct_value":
        return {key: _read_any(item) for key, item in message.struct_value.fields.items()}
    return None if kind in (None, "null_value") else getattr(message, kind)


def _write_tensor(value: Tensor, message: Any) -> None:
    message.dtype, message.data = value.dtype, value.data
    message.shape.extend(value.shape)


def _read_tensor(message: Any) -> Tensor:
    return Tensor(message.dtype, tuple(message.shape), message.data)


DATETIME = Kind(_write_datetime, _read_datetime, _is(datetime), datetime, in_message=True)
TIMEDELTA = Kind(_write_timedelta, _read_timedelta, _is(timedelta), timedelta, in_message=True)
ANY = Kind(_write_any, _read_any, lambda value: True, in_message=True)
NONE = Kind(_write_any, lambda message: None, lambda value: value is None, in_message=True)
TENSOR = Kind(_write_tensor, _read_tensor, _is(Tensor), Tensor, in_message=True)
