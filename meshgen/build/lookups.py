"""Which deployments a deployment looks up by name, as far as its source says so.

`serve.get_deployment_handle("Stock")` in a deployment's class, or in a function of its module, is
an edge of the graph like any that is bound. A name that is computed cannot be read off: that one
has to be declared by `@serve.deployment(may_call=[...])`.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from meshgen.graph import Graph, Node
from meshgen.spec import AppSpec

_BY_NAME, _INGRESS = "get_deployment_handle", "get_app_handle"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookups:
    """What one deployment looks up: names, and places in its source where no name can be read."""

    names: frozenset[str]
    unreadable: tuple[str, ...] = ()


def with_lookups(app: AppSpec, graph: Graph) -> AppSpec:
    """An application whose edges have those, too."""
    found = {node.stub.id.name: lookups_of(graph, node).names for node in graph.nodes}
    edges = {name: tuple(sorted({*app.edges[name], *found[name]})) for name in found}
    return replace(app, edges=edges)


def unreadable_lookups(graph: Graph) -> list[str]:
    """A sentence for each deployment that looks up others by names that only running it tells."""
    return [
        f"{node.stub.id.name} looks deployments up by names that cannot be read off its source "
        f"({', '.join(places)}): the mesh refuses its calls of those that neither .bind nor "
        "@serve.deployment(may_call=[...]) gives it"
        for node in graph.nodes
        if not node.declared and (places := lookups_of(graph, node).unreadable)
    ]


def lookups_of(graph: Graph, node: Node) -> Lookups:
    """What the deployment of a node looks up in its own application."""
    names, unreadable = set(), []
    for place, call in _calls(node.application.deployment.func_or_class):
        is_ingress = _name(call) == _INGRESS
        app = _argument(call, 0 if is_ingress else 1, "name", "app_name")
        if app is not None and not _may_mean(app, graph.app):
            continue
        wanted = ast.Constant(graph.ingress.stub.id.name)
        given = wanted if is_ingress else _argument(call, 0, "deployment_name")
        if isinstance(given, ast.Constant):
            names.add(str(given.value))
        else:
            unreadable.append(f"{place}:{call.lineno}")
    there = {each.stub.id.name for each in graph.nodes}
    return Lookups(names=frozenset(names & there), unreadable=tuple(unreadable))


def _may_mean(argument: ast.expr, app: str) -> bool:
    """Whether an application's name, as it is written there, can be this one."""
    return not isinstance(argument, ast.Constant) or argument.value in (app, None)


def _calls(target: Callable[..., Any]) -> Iterator[tuple[str, ast.Call]]:
    """The lookups in a deployment's own code and in its module's functions."""
    source = _source(target)
    if not any(name in source for name in (_BY_NAME, _INGRESS)):
        return
    file = Path(inspect.getsourcefile(target) or "its source").name
    for part in _parts(source):
        if isinstance(part, ast.ClassDef) and part.name != target.__name__:
            continue  # somebody else's
        for node in ast.walk(part):
            if isinstance(node, ast.Call) and _name(node) in (_BY_NAME, _INGRESS):
                yield file, node


@lru_cache(maxsize=8)
def _parts(source: str) -> list[ast.stmt]:
    """A module's statements, parsed once for all of its deployments."""
    try:
        return ast.parse(source).body
    except SyntaxError:  # it was changed since it was imported, or is indented
        return []


def _source(target: Callable[..., Any]) -> str:
    """The source of a deployment's module; empty where there is none, as of what was typed in."""
    module = inspect.getmodule(target)
    try:
        return inspect.getsource(target if module is None else module)
    except (OSError, TypeError):
        return ""


def _name(call: ast.Call) -> str:
    function = call.func
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _argument(call: ast.Call, place: int, *names: str) -> ast.expr | None:
    """An argument of a call, by place or by name."""
    if len(call.args) > place:
        return call.args[place]
    return next((each.value for each in call.keywords if each.arg in names), None)
