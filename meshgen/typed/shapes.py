"""What type hints say of values, as frozen values themselves: a shape for each hint.

Shapes know Python's side only. `forms` says how a shape sits in a message, `names` what the
messages are called.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeAlias
from uuid import UUID

# The Python types that are one Protobuf scalar, with that scalar.
SCALARS: Mapping[type, str] = {
    bool: "bool",
    int: "int64",
    float: "double",
    str: "string",
    bytes: "bytes",
    date: "string",
    Decimal: "string",
    UUID: "string",
}
# The Python types that are one of Protobuf's own messages.
MOMENTS: Mapping[type, str] = {
    datetime: "google.protobuf.Timestamp",
    timedelta: "google.protobuf.Duration",
}
VALUE = "google.protobuf.Value"
TENSOR = "meshgen.types.v1.Tensor"


@dataclass(frozen=True, slots=True)
class Scalar:
    """One of `SCALARS`."""

    python: type


@dataclass(frozen=True, slots=True)
class Chosen:
    """A Literal: some values of a scalar or of an enum."""

    base: Scalar | Enumerated
    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Enumerated:
    """An Enum, by the names of its members."""

    python: type[enum.Enum]


@dataclass(frozen=True, slots=True)
class Moment:
    """One of `MOMENTS`."""

    python: type


@dataclass(frozen=True, slots=True)
class Null:
    """None, and nothing else."""


@dataclass(frozen=True, slots=True)
class Anything:
    """Any, or no hint: whatever JSON can hold."""


@dataclass(frozen=True, slots=True)
class Array:
    """A numpy array; of one dtype, if that is said."""

    dtype: str | None = None


@dataclass(frozen=True, slots=True)
class Many:
    """Any number of values, in a list, tuple, set or frozenset."""

    item: Shape
    python: type = list
    # Whether any iterable may be given, as for `Sequence` and `Iterable`; a list comes back.
    loose: bool = False


@dataclass(frozen=True, slots=True)
class Mapped:
    """A dict."""

    key: Shape
    value: Shape


@dataclass(frozen=True, slots=True)
class Pair:
    """One entry of a dict whose keys no Protobuf map can have."""

    key: Shape
    value: Shape


@dataclass(frozen=True, slots=True)
class Fixed:
    """A tuple of so many values, each with a shape of its own."""

    items: tuple[Shape, ...]


@dataclass(frozen=True, slots=True)
class Maybe:
    """A value or None."""

    item: Shape


@dataclass(frozen=True, slots=True)
class OneOf:
    """A Union."""

    members: tuple[Shape, ...]


@dataclass(frozen=True, slots=True)
class RecordRef:
    """A class with named fields, by its hint, which is how it can contain itself."""

    hint: Hashable


@dataclass(frozen=True, slots=True)
class Registered:
    """A class that was registered, in the place of what it is converted to."""

    python: type
    to_message: Callable[[Any], Any]
    from_message: Callable[[Any], Any]
    inner: Shape


Shape: TypeAlias = (
    Scalar | Chosen | Enumerated | Moment | Null | Anything | Array | Many | Mapped | Pair
    | Fixed | Maybe | OneOf | RecordRef | Registered
)  # fmt: skip


class Default(enum.Enum):
    """What stands for a field that is left out."""

    REQUIRED = "required"
    NONE = "None"
    # An empty list, dict or other collection.
    EMPTY = "empty"
    # Another value, or (in a TypedDict) no key at all.
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """One field of a message, and what it is called on either side."""

    # The attribute, key or parameter it comes from.
    python: str
    # The field's name in Protobuf.
    proto: str
    shape: Shape
    default: Default = Default.REQUIRED
    # What the constructor calls it, where that is another name (pydantic's alias).
    argument: str = ""


class RecordKind(enum.Enum):
    """How a record's values are read and made."""

    OBJECT = "object"
    PYDANTIC = "pydantic"
    TYPED_DICT = "TypedDict"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What a `RecordRef` stands for."""

    hint: Hashable
    python: type
    kind: RecordKind
    slots: tuple[Slot, ...]
    comment: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One parameter of a method."""

    slot: Slot
    # As `inspect.Parameter` names it.
    kind: str
    # The default itself: a positional-only parameter before one that is given needs it.
    fallback: Any = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One method that can be a typed RPC: what it takes, and what it returns or yields."""

    name: str
    streams: bool
    parameters: tuple[Parameter, ...]
    result: Shape
    comment: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """All methods of one deployment that can be typed RPCs, and why the others cannot."""

    methods: tuple[Method, ...]
    records: Mapping[Hashable, Record]
    problems: tuple[str, ...]
    comment: str = ""
