"""Type annotations of a generated client, from shapes."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

from meshgen.build.client.naming import ClassNames, identifier
from meshgen.build.client.sourcetext import literal
from meshgen.typed.shapes import (
    Anything,
    Array,
    Chosen,
    Enumerated,
    Fixed,
    Many,
    Mapped,
    Maybe,
    Moment,
    Null,
    OneOf,
    RecordRef,
    Registered,
    Scalar,
    Shape,
)

_MODULES: dict[type, str] = {
    date: "_datetime.date",
    datetime: "_datetime.datetime",
    Decimal: "_decimal.Decimal",
    UUID: "_uuid.UUID",
}


class Hints:
    """Writes annotations. `hidden` are names that mean something else where they are written:
    the members of a class hide the built-in types of the same name."""

    def __init__(self, classes: ClassNames, hidden: Collection[str] = ()) -> None:
        self._classes = classes
        self._hidden = hidden

    def hint(self, shape: Shape) -> str:
        """The annotation of values of a shape."""
        match shape:
            case Scalar(python=python):
                return _MODULES.get(python) or self.builtin(python.__name__)
            case Moment(python=python):
                return _MODULES.get(python, "_datetime.timedelta")
            case Enumerated() | RecordRef():
                return self._classes.of(shape)
            case Chosen():
                return self._literal(shape)
            case Registered(inner=inner):
                return self.hint(inner)
            case Null():
                return "None"
            case Anything():
                return "_t.Any"
            case Array():
                return "_Tensor"
            case _:
                return self._composed(shape)

    def builtin(self, name: str) -> str:
        """A built-in type, by a name that nothing hides."""
        return f"_builtins.{name}" if name in self._hidden else name

    def _composed(self, shape: Shape) -> str:
        match shape:
            case Maybe(item=item):
                return f"{self.hint(item)} | None"
            case OneOf(members=members):
                return " | ".join(dict.fromkeys(map(self.hint, members)))
            case Many():
                return self._many(shape)
            case Mapped(key=key, value=value):
                return f"{self.builtin('dict')}[{self.hint(key)}, {self.hint(value)}]"
            case Fixed(items=items):
                inner = ", ".join(map(self.hint, items)) or "()"
                return f"{self.builtin('tuple')}[{inner}]"
            case _:
                raise AssertionError(f"{shape} has no annotation")

    def _many(self, shape: Many) -> str:
        item = self.hint(shape.item)
        if shape.loose:
            return f"_c.{'Sequence' if shape.python is list else 'Set'}[{item}]"
        if shape.python is tuple:
            return f"{self.builtin('tuple')}[{item}, ...]"
        return f"{self.builtin(shape.python.__name__)}[{item}]"

    def _literal(self, shape: Chosen) -> str:
        if isinstance(shape.base, Enumerated):
            cls = self._classes.of(shape.base)
            values = [f"{cls}.{identifier(value.name)}" for value in shape.values]
        else:
            values = [literal(value) for value in shape.values]
        return f"_t.Literal[{', '.join(values)}]"
