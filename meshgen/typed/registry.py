"""The classes that users gave a place in Protobuf themselves."""

from __future__ import annotations

import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from meshgen.errors import OptionError, OptionTypeError

T = TypeVar("T")
M = TypeVar("M")


@dataclass(frozen=True, slots=True)
class Registration:
    """How a class is converted, and the hint of what it is converted to."""

    to_message: Callable[[Any], Any]
    from_message: Callable[[Any], Any]
    hint: Any


# Of the process, as classes are: modules that declare deployments register when imported.
_registered: dict[type, Registration] = {}


def register(cls: type[T], to_message: Callable[[T], M], from_message: Callable[[M], T]) -> None:
    """Let typed methods take and return a class, as what `to_message` returns.

    `to_message` must say in its return annotation what that is: any type that has a mapping of
    its own, such as a dataclass, `dict[str, float]` or `bytes`. Subclasses are not included.

    Raises:
        OptionTypeError: The class is none, or a conversion cannot be called.
        OptionError: `to_message` has no return annotation, or one that is the class itself, or
            another one is registered already.
    """
    if not isinstance(cls, type):
        raise OptionTypeError(f"register() takes a class first, got {cls!r}")
    for name, given in (("to_message", to_message), ("from_message", from_message)):
        if not callable(given):
            raise OptionTypeError(
                f"{name} of {cls.__name__} must be a function of one value, got {given!r}"
            )
    made = Registration(to_message, from_message, _returned(cls, to_message))
    if _registered.setdefault(cls, made) != made:
        raise OptionError(
            f"{cls.__name__} is registered already, with other conversions; register it once"
        )


def registration_of(cls: Any) -> Registration | None:
    """What was registered for exactly this class."""
    return _registered.get(cls) if isinstance(cls, type) else None


def _returned(cls: type, to_message: Callable[..., Any]) -> Any:
    function = to_message if hasattr(to_message, "__annotations__") else type(to_message).__call__
    try:
        hints = typing.get_type_hints(function)
    except Exception as exc:  # evaluating annotations runs what users wrote
        raise OptionError(
            f"the annotations of to_message of {cls.__name__} cannot be resolved: {exc}"
        ) from exc
    if "return" not in hints:
        raise OptionError(
            f"to_message of {cls.__name__} has no return annotation, and so nothing says what a "
            f"{cls.__name__} is in Protobuf; write one, such as `-> dict[str, float]`"
        )
    if hints["return"] is cls:
        raise OptionError(
            f"to_message of {cls.__name__} returns a {cls.__name__} again; return what has a "
            "mapping of its own, such as a dataclass or a dict[str, float]"
        )
    return hints["return"]
