"""Defaults of fields as source text, where they can be written down."""

from __future__ import annotations

import dataclasses
import enum
import math
from typing import Any

from meshgen.build.client.naming import ClassNames, identifier
from meshgen.build.client.sourcetext import literal
from meshgen.typed.shapes import (
    Anything,
    Chosen,
    Default,
    Enumerated,
    Many,
    Mapped,
    Maybe,
    Null,
    OneOf,
    Record,
    Scalar,
    Shape,
    Slot,
)

_PLAIN = (bool, int, float, str, bytes)
# What a field has that is left to the service.
UNSET = "_UNSET"


def default_text(record: Record, slot: Slot, classes: ClassNames) -> str:
    """What stands for a field of a class that is left out; nothing for one that must be given."""
    if slot.default is Default.REQUIRED:
        return ""
    text = _text(slot.shape, _value(record.python, slot.python), classes)
    # A NamedTuple cannot have a fresh one each time.
    is_shared = issubclass(record.python, tuple) and (text or "").startswith("_dataclasses.")
    return UNSET if text is None or is_shared else text


def _text(shape: Shape, value: Any, classes: ClassNames) -> str | None:
    match shape:
        case Maybe(item=item):
            return "None" if value is None else _text(item, value, classes)
        case Null() | Anything():
            return _plain(value)
        case OneOf(members=members):
            texts = (_text(member, value, classes) for member in members)
            return next((text for text in texts if text is not None), None)
        case Chosen(base=base, values=values):
            return _text(base, value, classes) if value in values else None
        case Enumerated(python=python) if isinstance(value, python):
            return f"{classes.of(shape)}.{identifier(value.name)}"
        case Scalar(python=python) if type(value) is python:
            return _plain(value)
        case Many(python=python) if type(value) is python and not value:
            return _empty(python)
        case Mapped() if value == {}:
            return _empty(dict)
        case _:
            return None


def _empty(python: type) -> str:
    if python in (tuple, frozenset):
        return f"_builtins.{python.__name__}()"
    return f"_dataclasses.field(default_factory=_builtins.{python.__name__})"


def _plain(value: Any) -> str | None:
    if value is None:
        return "None"
    if type(value) not in _PLAIN or (type(value) is float and not math.isfinite(value)):
        return None
    return literal(value)


def _value(cls: Any, name: str) -> Any:
    """The default that a class declares; an object that no shape has if there is none."""
    if dataclasses.is_dataclass(cls):
        return next(_declared(field) for field in dataclasses.fields(cls) if field.name == name)
    if hasattr(cls, "_field_defaults"):
        return cls._field_defaults.get(name, _NOTHING)
    field = getattr(cls, "model_fields", {}).get(name)
    if field is None:  # a TypedDict's
        return _NOTHING
    return _made(field.default_factory) if field.default_factory else field.default


def _declared(field: dataclasses.Field[Any]) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    return _made(field.default_factory)


def _made(factory: Any) -> Any:
    # Only what has no effect: others may count, or ask a clock.
    return factory() if factory in (list, dict, set, tuple, frozenset) else _NOTHING


class _Nothing(enum.Enum):
    NOTHING = 0


_NOTHING = _Nothing.NOTHING
