"""Between the messages of a typed RPC and the arguments and results of its method.

A replica uses `arguments` and `response`, a client `request` and `result`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from meshgen.errors import InvalidResultError, InvalidValueError
from meshgen.typed.compiler import Compiler
from meshgen.typed.fields import ABSENT, FieldCodec
from meshgen.typed.layout import Layout, result_slots
from meshgen.typed.misfit import MisfitError, misfit, unexpected
from meshgen.typed.parts import Part, fill, gather
from meshgen.typed.shapes import Default, Method, Parameter


@dataclass(frozen=True, slots=True, kw_only=True)
class Converter:
    """The conversions of one method. `request_class` and `response_class` are its messages'."""

    method: str
    # As gRPC has it: `/package.Service/Rpc`.
    path: str
    streams: bool
    request_class: Any
    response_class: Any
    # Message to arguments and back, in the order of the parameters.
    arguments: Callable[[Any], tuple[tuple[Any, ...], dict[str, Any]]]
    request: Callable[..., Any]
    # A result, or one item of a stream.
    response: Callable[[Any], Any]
    result: Callable[[Any], Any]


def make_converter(
    layout: Layout,
    compiler: Compiler,
    method: Method,
    messages: tuple[Any, Any],
    path: str,
) -> Converter:
    """Compile the conversions of one method, whose messages have these classes."""
    label = f"{layout.id.name}.{method.name}"
    fields = [compiler.field(parameter.slot) for parameter in method.parameters]
    result = [compiler.field(slot) for slot in result_slots(method)]
    return Converter(
        method=method.name,
        path=path,
        streams=method.streams,
        request_class=messages[0],
        response_class=messages[1],
        arguments=_arguments(label, method.parameters, fields),
        request=_request(label, method.parameters, fields, messages[0]),
        response=_response(label, result, messages[1]),
        result=_result(label, result),
    )


def _arguments(
    label: str, parameters: Sequence[Parameter], fields: Sequence[FieldCodec]
) -> Callable[[Any], tuple[tuple[Any, ...], dict[str, Any]]]:
    parts = _parts(parameters, fields)
    positional = [p for p in parameters if p.kind == "POSITIONAL_ONLY"]

    def arguments(message: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        try:
            given = gather(parts, message)
        except MisfitError as exc:
            raise _bad_call(label, exc) from exc
        if not positional:
            return (), given
        return _taken(positional, given), given

    return arguments


def _taken(positional: Sequence[Parameter], given: dict[str, Any]) -> tuple[Any, ...]:
    """The values of these parameters, which are taken out of those given."""
    names = [parameter.slot.python for parameter in positional]
    # Up to the last that was given; what is left out before it has its default.
    count = max((n for n, name in enumerate(names, start=1) if name in given), default=0)
    return tuple(
        given.pop(parameter.slot.python, parameter.fallback) for parameter in positional[:count]
    )


def _request(
    label: str, parameters: Sequence[Parameter], fields: Sequence[FieldCodec], cls: Any
) -> Callable[..., Any]:
    parts = _parts(parameters, fields)
    known = [parameter.slot.python for parameter in parameters]
    required = {p.slot.python for p in parameters if p.slot.default is Default.REQUIRED}

    def request(args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        given = {**dict(zip(known, args, strict=False)), **(kwargs or {})}
        if len(args) > len(known) or not required <= {*given} <= {*known}:
            raise InvalidValueError(
                f"{label} takes {', '.join(known) or 'nothing'}; "
                f"got {len(args)} by position and {', '.join(kwargs or {}) or 'none'} by name"
            )
        message = cls()
        try:
            fill(parts, given, message)
        except (MisfitError, RecursionError) as exc:
            raise _bad_call(label, exc) from exc
        return message

    return request


def _response(label: str, result: Sequence[FieldCodec], cls: Any) -> Callable[[Any], Any]:
    put = result[0].put if result else _expect_none

    def response(value: Any) -> Any:
        message = cls()
        try:
            put(message, value)
        except (MisfitError, RecursionError) as exc:
            raise _wrong_result(label, exc) from exc
        return message

    return response


def _result(label: str, result: Sequence[FieldCodec]) -> Callable[[Any], Any]:
    if not result:
        return lambda message: None
    get = result[0].get

    def read(message: Any) -> Any:
        try:
            return get(message)
        except MisfitError as exc:
            raise _wrong_result(label, exc) from exc

    return read


def _expect_none(message: Any, value: Any) -> None:
    if value is not None:
        raise unexpected("None", value)


def _bad_call(label: str, exc: Exception) -> InvalidValueError:
    return InvalidValueError(f"{label} cannot be called like that", _told(exc).pairs())


def _wrong_result(label: str, exc: Exception) -> InvalidResultError:
    what = f"{label} has a result that does not fit its hint"
    return InvalidResultError(what, _told(exc).pairs("result"))


def _told(exc: Exception) -> MisfitError:
    if isinstance(exc, MisfitError):
        return exc
    return misfit("something contains itself, or is nested too deep")  # a RecursionError


def _parts(parameters: Sequence[Parameter], fields: Sequence[FieldCodec]) -> list[Part]:
    return [
        Part(parameter.slot.python, _argument(parameter.slot.python), field)
        for parameter, field in zip(parameters, fields, strict=True)
    ]


def _argument(name: str) -> Callable[[Any], Any]:
    return lambda given: given.get(name, ABSENT)
