"""What the messages and enums of one package are called."""

from __future__ import annotations

import enum
import re
import typing
from collections import Counter
from collections.abc import Hashable, Iterable
from typing import Any

from meshgen.naming import MessageName, VariableName, words
from meshgen.typed.canonical import canonical
from meshgen.typed.shapes import (
    MOMENTS,
    SCALARS,
    TENSOR,
    VALUE,
    Anything,
    Array,
    Enumerated,
    Fixed,
    Many,
    Mapped,
    Maybe,
    Moment,
    Null,
    OneOf,
    Pair,
    RecordRef,
    Scalar,
    Shape,
)

# What the oneof of every union is called.
ONEOF = "value"
_WORDS: dict[type, str] = {str: "String"}


class Names:
    """The names in one package. `classes` are the hints and enums that become types in it.

    Classes of one name, and those whose name is in `reserved`, are named after their module, too.
    """

    def __init__(self, classes: Iterable[Hashable], reserved: Iterable[str] = ()) -> None:
        self._taken: dict[str, Shape | None] = dict.fromkeys(reserved)
        self._classes: dict[Hashable, str] = {}
        self._words: dict[Shape, str] = {}
        self._values: set[str] = set()
        self._name_classes(list(dict.fromkeys(classes)))

    def type_of(self, shape: Shape) -> str:
        """The type of a field with one element of this shape: a scalar, or a message's name."""
        match canonical(shape):
            case Scalar(python=python):
                return SCALARS[python]
            case Moment(python=python):
                return MOMENTS[python]
            case Null() | Anything():
                return VALUE
            case Array():
                return TENSOR
            case _:
                return self.word(shape)

    def word(self, shape: Shape) -> str:
        """A shape's part in the names of others, and its own name if it is a message's."""
        key = canonical(shape)
        if key not in self._words:
            self._words[key] = self._composed(key)
        return self._words[key]

    def members(self, union: OneOf) -> dict[Shape, str]:
        """What the members of a union are called in its oneof, by their canonical shapes."""
        found: dict[Shape, str] = {}
        for shape in sorted(map(canonical, union.members), key=repr):
            name, count = self._member(shape), 1
            # As that of the oneof, and as an int beside a class called IntValue.
            while name == ONEOF or name in found.values():
                count += 1
                name = f"{self._member(shape)}_{count}"
            found[shape] = name
        return found

    def enum_value(self, cls: type[enum.Enum], member: str) -> str:
        """What a member of an enum is called, which no other enum of the package has."""
        return f"{VariableName(self._classes[cls])}_{VariableName(member)}"

    def _member(self, shape: Shape) -> str:
        name = "_".join(words(self.word(shape)))
        return f"{name}_value" if isinstance(shape, Scalar) else name

    def _composed(self, shape: Shape) -> str:
        match shape:
            case Scalar(python=python) | Moment(python=python):
                return _WORDS.get(python) or MessageName(python.__name__)
            case Null() | Anything():
                return "Value"
            case Array():
                return "Tensor"
            case Enumerated(python=python):
                return self._classes[python]
            case RecordRef(hint=hint):
                return self._classes[hint]
            case _:
                return self._own(self._structural(shape), shape)

    def _structural(self, shape: Shape) -> str:
        match shape:
            case Many(item=item):
                return f"{self.word(item)}List"
            case Mapped(key=key, value=value):
                return f"{self.word(key)}{self.word(value)}Map"
            case Pair(key=key, value=value):
                return f"{self.word(key)}{self.word(value)}Entry"
            case Fixed(items=items):
                return "".join(map(self.word, items)) + "Tuple"
            case Maybe(item=item):
                return f"Optional{self.word(item)}"
            case OneOf(members=members):
                return "Or".join(sorted(map(self.word, members)))
            case _:
                raise AssertionError(f"{shape} has no name")

    def _own(self, wanted: str, shape: Shape | None) -> str:
        name, count = wanted, 1
        while name in self._taken and (shape is None or self._taken[name] != shape):
            count += 1
            name = f"{wanted}{count}"
        self._taken[name] = shape
        return name

    def _name_classes(self, classes: list[Hashable]) -> None:
        plain = {cls: _plain_name(cls) for cls in classes}
        count = Counter(plain.values())
        for cls in sorted(classes, key=_qualified):
            name = plain[cls]
            if count[name] > 1 or name in self._taken:
                name = _as_message(_qualified(cls))
            self._classes[cls] = self._own(self._with_own_values(cls, name), None)

    def _with_own_values(self, cls: Any, name: str) -> str:
        """A name for an enum with which none of its values is called as another enum's."""
        if not isinstance(cls, enum.EnumType):
            return name
        values = {f"{VariableName(name)}_{VariableName(member)}" for member in _members(cls)}
        if values & self._values:  # FOO_BAR_X is X of FooBar and BAR_X of Foo
            return self._with_own_values(cls, f"{name}Enum")
        self._values |= values
        return name


def are_namesakes(one: Any, other: Any) -> bool:
    """Whether two classes have one name, their module's included."""
    if typing.get_args(one) or typing.get_args(other):
        return False
    return _as_message(_qualified(one)) == _as_message(_qualified(other))


def _members(cls: enum.EnumType) -> list[str]:
    return ["UNSPECIFIED", *cls.__members__]


def _plain_name(cls: Any) -> str:
    return _as_message(_with_arguments(cls, lambda origin: str(origin.__name__)))


def _qualified(cls: Any) -> str:
    return _with_arguments(cls, lambda origin: f"{origin.__module__}.{origin.__qualname__}")


def _with_arguments(cls: Any, name: typing.Callable[[Any], str]) -> str:
    origin = typing.get_origin(cls) or cls
    return " ".join([name(origin), *(_argument(each) for each in typing.get_args(cls))])


def _argument(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint)


def _as_message(text: str) -> str:
    name = MessageName(re.sub(r"<locals>", "", text))
    return name if name and name[0].isalpha() else f"Type{name}"
