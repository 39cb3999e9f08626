"""Turn what users return into JSON text: models, dataclasses, arrays and dates included."""

from __future__ import annotations

import dataclasses
import datetime
import json
from collections import deque
from collections.abc import Callable, Iterable, KeysView, Mapping, ValuesView
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any
from uuid import UUID

from meshgen.errors import SerializationError

_KEYS = (str, int, float, bool, type(None))


def to_json_text(value: Any) -> bytes:
    """The value as compact UTF-8 JSON.

    Raises:
        SerializationError: A part of it has no JSON form; NaN and infinity have none.
    """
    try:
        return _dumps(value)
    except (TypeError, ValueError, RecursionError):
        pass  # it may only be a key that JSON does not know, such as a UUID or a numpy integer
    try:
        return _dumps(_with_plain_keys(value))
    except (TypeError, ValueError, RecursionError) as exc:
        raise SerializationError(
            f"a result of type {_name(value)} cannot become JSON: {exc}; return str, bytes, "
            "JSON-like values or a starlette Response"
        ) from exc


def _dumps(value: Any) -> bytes:
    text = json.dumps(
        value, default=_simpler, ensure_ascii=False, allow_nan=False, separators=(",", ":")
    )
    return text.encode()


def _simpler(value: Any) -> Any:
    """One step towards JSON; the encoder comes back with what is inside.

    Raises:
        TypeError: There is none.
    """
    for kind, convert in _CONVERSIONS:
        if isinstance(value, kind):
            return convert(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    # Recognised by what they can do, so that none of these libraries is needed here: pydantic
    # models, numpy arrays (and tensors), numpy scalars.
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    for method in ("tolist", "item"):
        if hasattr(value, method):
            return getattr(value, method)()
    raise TypeError(f"{_name(value)} has no JSON form")


def _decimal(value: Decimal) -> int | float:
    return int(value) if value == value.to_integral_value() else float(value)


_ITERABLES = (set, frozenset, deque, KeysView, ValuesView)
_CONVERSIONS: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    (Enum, lambda value: value.value),
    ((datetime.datetime, datetime.date, datetime.time), lambda value: value.isoformat()),
    (datetime.timedelta, lambda value: value.total_seconds()),
    (Decimal, _decimal),
    ((UUID, PurePath), str),
    ((bytes, bytearray), lambda value: value.decode()),
    (Mapping, dict),
    (_ITERABLES, list),
)


def _with_plain_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {_key(key): _with_plain_keys(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_with_plain_keys(item) for item in value]
    if value is None or isinstance(value, (str, int, float)):
        return value
    return _with_plain_keys(_simpler(value))


def _key(key: Any) -> Any:
    if isinstance(key, Enum):
        return _key(key.value)
    plain = key if isinstance(key, _KEYS) else _simpler(key)
    if isinstance(plain, Iterable) and not isinstance(plain, str):
        raise TypeError(f"{_name(key)} cannot be a JSON key")
    return plain


def _name(value: Any) -> str:
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
