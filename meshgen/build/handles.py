"""`handles/<app>_handles.pyi`: the handles of an application as type checkers should see them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from meshgen.build.pythonhint import HintText, alias, item_of
from meshgen.build.render import render
from meshgen.graph import Graph, Node
from meshgen.naming import MessageName, words
from meshgen.stub import MethodStub
from meshgen.typed.records import hints_of
from meshgen.typed.untypable import UntypableError

_STARS = {"VAR_POSITIONAL": "*", "VAR_KEYWORD": "**"}


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodText:
    """One method as source text."""

    name: str
    streams: bool
    signature: str
    result: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HandleText:
    """One deployment's handle. `call` is the method that the handle itself calls, if any."""

    name: str
    deployment: str
    call: MethodText | None
    unary: tuple[MethodText, ...]
    streams: tuple[MethodText, ...]
    # Whether the deployment answers to methods that nobody can list.
    open_ended: bool


def handle_files(graph: Graph) -> dict[str, bytes]:
    """The file by its name: one class for each deployment, such as `SpanishResponderHandle`."""
    hints = HintText()
    handles = [_handle(node, hints) for node in graph.nodes]
    modules = [(name, alias(name)) for name in sorted(hints.modules)]
    name = "_".join([*words(graph.app), "handles"])
    text = render("handles.pyi.j2", app=graph.app, name=name, handles=handles, modules=modules)
    return {f"{name}.pyi": text.encode()}


def _handle(node: Node, hints: HintText) -> HandleText:
    target = node.application.deployment.func_or_class
    methods = [
        _method(target, stub, hints)
        for name, stub in sorted(node.stub.methods.items())
        if name == "__call__" or not name.startswith("_")
    ]
    named = [method for method in methods if method.name != "__call__"]
    return HandleText(
        name=f"{MessageName(node.stub.id.name)}Handle",
        deployment=node.stub.id.name,
        call=next((method for method in methods if method.name == "__call__"), None),
        unary=tuple(method for method in named if not method.streams),
        streams=tuple(method for method in named if method.streams),
        open_ended=node.stub.open_ended,
    )


def _method(target: Callable[..., Any], stub: MethodStub, hints: HintText) -> MethodText:
    member = getattr(target, stub.name) if inspect.isclass(target) else target
    known = _hints(member)
    result = known.get("return", Any)
    return MethodText(
        name=stub.name,
        streams=stub.streams,
        signature=", ".join(["self", *_parameters(member, stub, known, hints)]),
        result=hints.text(item_of(result) if stub.streams else result),
    )


def _hints(member: Callable[..., Any]) -> dict[str, Any]:
    function: Any = inspect.unwrap(member)
    try:
        return hints_of(function) if hasattr(function, "__annotations__") else {}
    except UntypableError:
        return {}


def _parameters(
    member: Callable[..., Any], stub: MethodStub, known: dict[str, Any], hints: HintText
) -> list[str]:
    if stub.parameters is None:
        return ["*args: _t.Any", "**kwargs: _t.Any"]
    parts: list[str] = []
    last = ""
    for parameter in stub.parameters:
        if last == "POSITIONAL_ONLY" != parameter.kind:
            parts.append("/")
        if parameter.kind == "KEYWORD_ONLY" and last not in ("KEYWORD_ONLY", "VAR_POSITIONAL"):
            parts.append("*")
        hint = f"_Given[{hints.text(known.get(parameter.name, Any))}]"
        optional = not parameter.required and parameter.kind not in _STARS
        text = f"{_STARS.get(parameter.kind, '')}{parameter.name}: {hint}"
        parts.append(f"{text} = ..." if optional else text)
        last = parameter.kind
    return [*parts, "/"] if last == "POSITIONAL_ONLY" else parts
