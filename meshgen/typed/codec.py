"""How one element of a shape is written to Protobuf and read from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec:
    """Functions of one shape, compiled once. All raise `MisfitError`.

    A scalar is written by returning what to assign, a message by filling the one that is given.
    """

    in_message: bool
    # value → scalar; or (value, message) → None.
    write: Callable[..., Any]
    read: Callable[[Any], Any]
    # Whether a union should try this member for a value, and the type that is certainly its.
    matches: Callable[[Any], bool]
    exact: type | None = None


def as_is(value: T) -> T:
    """What reading is where Protobuf and Python have the same value."""
    return value
