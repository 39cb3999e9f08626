"""Type hints as source text, with the modules that the text needs."""

from __future__ import annotations

import collections.abc
import sys
import types
import typing
from typing import Any

from meshgen.serve.deployment import Deployment

_UNIONS = (typing.Union, types.UnionType)


class HintText:
    """Writes hints; `modules` are the names of those that the text so far refers to.

    A module is referred to by an alias, as a method may have its name.
    """

    def __init__(self) -> None:
        self.modules: set[str] = set()

    def text(self, hint: Any) -> str:
        """A hint as its author could have written it, or `_t.Any` where nobody could."""
        if hint is None or hint is types.NoneType:
            return "None"
        if hint is Any:
            return "_t.Any"
        if hint is Ellipsis:
            return "..."
        if isinstance(hint, list):  # the parameters of a Callable
            return f"[{self._all(tuple(hint))}]"
        origin, args = typing.get_origin(hint), typing.get_args(hint)
        if origin is typing.Annotated:
            return self.text(args[0])
        if origin in _UNIONS:
            return " | ".join(dict.fromkeys(map(self.text, args)))
        if origin is typing.Literal:
            return self._literal(args)
        if origin is not None:
            return self._generic(origin, hint, args)
        return self._named(hint)

    def _generic(self, origin: Any, hint: Any, args: tuple[Any, ...]) -> str:
        name = self._named(origin)
        if name == "_t.Any":
            return name
        if origin is tuple and not args:
            return "tuple[()]" if hint == tuple[()] else name
        return f"{name}[{self._all(args)}]" if args else name

    def _all(self, hints: tuple[Any, ...]) -> str:
        return ", ".join(map(self.text, hints))

    def _literal(self, values: tuple[Any, ...]) -> str:
        texts = [self._value(value) for value in values]
        return "_t.Any" if None in texts else f"_t.Literal[{', '.join(filter(None, texts))}]"

    def _value(self, value: Any) -> str | None:
        if type(value) in (int, bool, str, bytes, types.NoneType):
            return repr(value)
        cls = self._named(type(value))  # an enum's member
        return None if cls == "_t.Any" else f"{cls}.{value.name}"

    def _named(self, hint: Any) -> str:
        module, name = getattr(hint, "__module__", ""), getattr(hint, "__qualname__", "")
        if isinstance(hint, type) and module == "builtins":
            return str(name)
        if not _leads_to(module, name, hint):
            return "_t.Any"
        self.modules.add(module)
        return f"{alias(module)}.{name}"


def alias(module: str) -> str:
    """What a module is called in the text."""
    return f"_{module.replace('.', '_')}_module"


def item_of(hint: Any) -> Any:
    """What a generator of this hint yields."""
    origin = typing.get_origin(hint)
    is_iterable = isinstance(origin, type) and issubclass(
        origin, collections.abc.Iterable | collections.abc.AsyncIterable
    )
    return [*typing.get_args(hint), Any][0] if is_iterable else Any


def _leads_to(module: str, name: str, hint: Any) -> bool:
    """Whether a type checker finds this very class, or NewType, under its own name."""
    found: Any = sys.modules.get(module)
    if module == "__main__" or not isinstance(hint, type | typing.NewType):
        return False
    for part in name.split("."):
        found = getattr(found, part, None)
    return found is hint and not isinstance(found, Deployment)
