"""The methods of a generated client: their signatures, and what they pass on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from meshgen.build.client.docstrings import docstring
from meshgen.build.client.hints import Hints
from meshgen.build.client.kinds import Kinds
from meshgen.build.client.naming import ClassNames
from meshgen.build.client.sourcetext import call, literal
from meshgen.typed.layout import Layout, result_slots
from meshgen.typed.schema import Schema
from meshgen.typed.shapes import Default, Method, Parameter

_OPTIONS = ("timeout", "metadata")
_INDENT = " " * 4
# What methods for blocking code and for asyncio differ in.
_FLAVOURS = (
    ("sync", "_sync.Stream", "", ""),
    ("aio", "_aio.AsyncStream", "async ", "await "),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodText:
    """One method as source text."""

    name: str
    # The constant that describes its RPC, and the methods for blocking code and for asyncio.
    constant: tuple[str, ...]
    blocking: tuple[str, ...]
    asyncio: tuple[str, ...]


def method_text(method: Method, layout: Layout, schema: Schema, classes: ClassNames) -> MethodText:
    """A method of the client, in a class that has one for each method of the deployment."""
    hints = Hints(classes, {each.name for each in layout.interface.methods})
    names = [parameter.slot.python for parameter in method.parameters]
    receiver = "self" if "self" not in names else "_self"
    options = [_free(option, names) for option in _OPTIONS]
    rpc = layout.rpcs[method.name]
    parameters = [receiver, *_parameters(method.parameters, hints, options)]
    doc = docstring(method.comment or f"{rpc} of {schema.deployment}.", _INDENT * 2)
    values = ", ".join(f"{literal(name)}: {name}" for name in names)
    passed = [f"_{rpc}Rpc", f"{{{values}}}", *options]
    result = hints.hint(method.result)
    made = {}
    for channel, stream, before, waits in _FLAVOURS:
        of = f"{stream}[{result}]" if method.streams else result
        head = f"{'' if method.streams else before}def {method.name}"
        sends = f"{receiver}._channel.{'stream' if method.streams else 'unary'}"
        answer = f"return {'' if method.streams else waits}{sends}"
        made[channel] = (
            *call(head, parameters, f" -> {of}:", _INDENT),
            *doc,
            *call(answer, passed, "", _INDENT * 2),
        )
    return MethodText(
        name=method.name,
        constant=_constant(method, layout, schema, classes),
        blocking=made["sync"],
        asyncio=made["aio"],
    )


def _free(name: str, taken: Sequence[str]) -> str:
    """An option of the call; a parameter of its name keeps that."""
    while name in taken:
        name += "_"
    return name


def _constant(
    method: Method, layout: Layout, schema: Schema, classes: ClassNames
) -> tuple[str, ...]:
    kinds, rpc = Kinds(layout, schema, classes), layout.rpcs[method.name]
    fields = [kinds.field(each.slot, each.slot.python) for each in method.parameters]
    results = [kinds.field(slot) for slot in result_slots(method)] or ["None"]
    described = [literal(schema.full_service), literal(rpc), f"[{', '.join(fields)}]", results[0]]
    # Outside of the class, whose methods may hide built-in types.
    result = Hints(classes).hint(method.result)
    return tuple(call(f"_{rpc}Rpc: _m.Method[{result}] = _m.Method", described, ""))


def _parameters(parameters: Sequence[Parameter], hints: Hints, options: Sequence[str]) -> list[str]:
    timeout, metadata = options
    parts: list[str] = []
    last = "POSITIONAL_ONLY"
    for parameter in parameters:
        parts += _marks(last, parameter.kind, parts)
        parts.append(_parameter(parameter, hints))
        last = parameter.kind
    if last == "POSITIONAL_ONLY" and parameters:
        parts.append("/")
    parts += ["*"] if last != "KEYWORD_ONLY" else []
    optional = hints.builtin("float")
    return [
        *parts,
        f"{timeout}: {optional} | None = None",
        f"{metadata}: _m.Metadata | None = None",
    ]


def _marks(before: str, now: str, parts: list[str]) -> list[str]:
    """What stands between parameters of two kinds."""
    if before == now:
        return []
    ends = ["/"] if before == "POSITIONAL_ONLY" and parts else []
    return [*ends, *(["*"] if now == "KEYWORD_ONLY" else [])]


def _parameter(parameter: Parameter, hints: Hints) -> str:
    slot = parameter.slot
    hint = hints.hint(slot.shape)
    if slot.default is Default.REQUIRED:
        return f"{slot.python}: {hint}"
    if slot.default is Default.NONE:
        return f"{slot.python}: {hint} = None"
    return f"{slot.python}: {hint} | _Unset = _UNSET"
