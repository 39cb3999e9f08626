"""The task service as part of a mesh: whether it is needed, and as what it is deployed."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from types import FunctionType, ModuleType
from typing import Any

from meshgen.errors import OptionError
from meshgen.graph import Graph, Node
from meshgen.serve.deployment import Application, Deployment
from meshgen.serve.options import ActorOptions, DeploymentOptions
from meshgen.settings import variable
from meshgen.stub import DeploymentStub, MethodStub
from meshgen.tasks.declared import Declared
from meshgen.tasks.home import TASKS
from meshgen.tasks.runner import TaskRunner

# Calls that wait for an actor, or for what they have called themselves, must not keep others out.
_UNBOUNDED = 1_000_000
_METHODS = ("run", "run_async", "item", "create", "call", "kill", "find")
_REPLICAS = variable("tasks_replicas")


def task_graph(num_replicas: int = 1) -> Graph:
    """The task service as an application of its own."""
    deployment: Deployment[..., Any] = Deployment(
        TaskRunner,
        TASKS.name,
        DeploymentOptions(
            num_replicas=num_replicas,
            max_ongoing_requests=_UNBOUNDED,
            actor=ActorOptions(num_cpus=0),  # no limit
        ),
    )
    stub = DeploymentStub(
        id=TASKS,
        service=TASKS.name,
        methods={name: MethodStub(name=name) for name in _METHODS},
    )
    node = Node(application=Application(deployment, (), {}), stub=stub)
    return Graph(app=TASKS.app, nodes=(node,))


def local_replicas() -> int:
    """How many replicas of it a local mesh has.

    Raises:
        OptionError: `MESHGEN_TASKS_REPLICAS` is no such number.
    """
    given = os.environ.get(_REPLICAS, "1")
    if not given.isdecimal() or int(given) < 1:
        raise OptionError(f"{_REPLICAS} must be a whole number of at least 1, got {given!r}")
    return int(given)


def uses_tasks(graph: Graph) -> bool:
    """Whether a module of the deployments, or one that such a module imports, declares tasks.

    Read off what the modules hold at their top level: what a function imports later is not seen.
    """
    return next(declared_by(graph), None) is not None


def declared_by(graph: Graph) -> Iterator[Declared]:
    """The tasks and actors that these modules declare."""
    if "meshgen.tasks.decorator" in sys.modules:
        targets = [node.application.deployment.func_or_class for node in graph.nodes]
        yield from (value for value in _reachable(targets) if isinstance(value, Declared))


def _reachable(targets: list[Callable[..., Any]]) -> Iterator[Any]:
    """Everything in the modules of these functions and classes, and in those that they import."""
    todo = [target.__module__ for target in targets]
    seen: set[str] = set()
    while todo:
        name = todo.pop()
        if name in seen or name.partition(".")[0] in _PASSED_BY:
            continue
        seen.add(name)
        for value in [*vars(sys.modules[name]).values()] if name in sys.modules else ():
            yield value
            if (module := _module_of(value)) is not None:
                todo.append(module)


_PASSED_BY = sys.stdlib_module_names - {"__main__"} | {"meshgen"}


def _module_of(value: Any) -> str | None:
    """The module that a value is, or comes from. Nothing of the user's runs for that."""
    if isinstance(value, Deployment):
        value = value.func_or_class
    if type(value) is ModuleType:
        return value.__name__
    if type(value) in (FunctionType, type):
        module = value.__module__
        return module if isinstance(module, str) else None
    return None
