"""The methods of a deployment as its hints describe them, and why some are not typed RPCs."""

from __future__ import annotations

import collections.abc
import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from meshgen.stub import MethodStub, method_stubs
from meshgen.typed.comments import first_paragraph
from meshgen.typed.fieldname import check_distinct
from meshgen.typed.hints import HintReader
from meshgen.typed.records import FoundField, default_of, hints_of
from meshgen.typed.shapes import Interface, Method, Parameter, Shape
from meshgen.typed.untypable import UntypableError

# What the mesh itself calls, on a replica's own behalf.
_HOOKS = frozenset({"reconfigure", "check_health"})
_ABC = collections.abc
_STREAMS = (_ABC.Iterator, _ABC.Generator, _ABC.AsyncIterator, _ABC.AsyncGenerator)
# A generator may be annotated as what it is used as.
_ITERABLES = (*_STREAMS, _ABC.Iterable, _ABC.AsyncIterable)


def read_interface(target: Callable[..., Any], deployment: str) -> Interface:
    """The public methods of a deployment's class, or its function, as typed RPCs.

    What cannot be one is told in `problems`, a sentence for each reason.
    """
    reader = HintReader()
    methods, problems = [], []
    for name, stub in sorted(method_stubs(target).items()):
        if name in _HOOKS or (name.startswith("_") and name != "__call__"):
            continue
        member = getattr(target, name) if inspect.isclass(target) else target
        reading = _Reading(stub=stub, member=member, reader=reader, problems=[])
        method = reading.method()
        problems += [f"{deployment}.{name} has no typed RPC: {why}" for why in reading.problems]
        if method is not None:
            methods.append(method)
    return Interface(
        methods=tuple(methods),
        records=dict(reader.records),
        problems=tuple(problems),
        comment=first_paragraph(target.__doc__),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    """One method while it is read."""

    stub: MethodStub
    member: Callable[..., Any]
    reader: HintReader
    problems: list[str]

    def method(self) -> Method | None:
        """What it is as an RPC; None if it has problems."""
        if self.stub.parameters is None:
            self.problems.append("its signature cannot be read")
            return None
        hints = self._try("it", lambda: _hints(self.member)) or {}
        parameters = [self._parameter(each, hints) for each in self._parameters()]
        result = self._try("its result", lambda: self._result(hints))
        self._try("it", lambda: check_distinct(_names(parameters)))
        if self.problems or result is None:
            return None
        return Method(
            name=self.stub.name,
            streams=self.stub.streams,
            parameters=tuple(found for found in parameters if found),
            result=result,
            comment=first_paragraph(inspect.unwrap(self.member).__doc__),
        )

    def _parameters(self) -> list[inspect.Parameter]:
        wanted = {parameter.name for parameter in self.stub.parameters or ()}
        found = inspect.signature(self.member).parameters.values()
        return [parameter for parameter in found if parameter.name in wanted]

    def _parameter(
        self, parameter: inspect.Parameter, hints: Mapping[str, Any]
    ) -> Parameter | None:
        what = f"its parameter {parameter.name!r}"
        if parameter.kind.name.startswith("VAR"):
            stars = "*" if parameter.kind.name == "VAR_POSITIONAL" else "**"
            self.problems.append(f"it takes {stars}{parameter.name}, and messages name every field")
            return None
        field = _field(parameter, hints)
        # Read apart first: only then a failure leaves no halves behind.
        if self._try(what, lambda: self.reader.read(field.hint)) is None:
            return None
        slot = self._try(what, lambda: self.reader.slot(field))
        if slot is None:
            return None
        return Parameter(slot=slot, kind=parameter.kind.name, fallback=parameter.default)

    def _result(self, hints: Mapping[str, Any]) -> Shape:
        hint = hints.get("return", Any)
        origin = typing.get_origin(hint) or hint
        if not self.stub.streams:
            if origin in _STREAMS:
                raise UntypableError("is an iterator, but it has no `yield`; return a list")
            return self.reader.read(hint)
        if hint is Any:
            return self.reader.read(Any)
        if origin not in _ITERABLES:
            raise UntypableError(
                "is said to be no iterator, but it has a `yield`; annotate it `-> Iterator[...]`"
            )
        return self.reader.read([*typing.get_args(hint), Any][0])

    def _try(self, what: str, read: Callable[[], Any]) -> Any:
        try:
            return read()
        except UntypableError as exc:
            self.problems.append(f"{what} {exc}")
            return None


def _names(parameters: list[Parameter | None]) -> list[tuple[str, str]]:
    return [(found.slot.python, found.slot.proto) for found in parameters if found]


def _field(parameter: inspect.Parameter, hints: Mapping[str, Any]) -> FoundField:
    hint = hints.get(parameter.name, Any)
    if parameter.default is inspect.Parameter.empty:
        return FoundField(name=parameter.name, hint=hint)
    return FoundField(name=parameter.name, hint=hint, default=default_of(parameter.default))


def _hints(member: Callable[..., Any]) -> dict[str, Any]:
    function: Any = inspect.unwrap(member)
    while isinstance(function, partial):
        function = function.func
    if not hasattr(function, "__annotations__"):  # an object that can be called
        function = type(function).__call__
    return hints_of(function) if hasattr(function, "__annotations__") else {}
