"""What the services of a mesh are told: each of them its own part, all of them the mesh."""

from __future__ import annotations

import importlib
import pickle
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import cloudpickle

from meshgen.arguments import Arguments, pack
from meshgen.errors import (
    BuildError,
    NoSuchApplicationError,
    SerializationError,
)
from meshgen.graph import Graph, Node
from meshgen.serve.deployment import Deployment
from meshgen.serve.options import DeploymentOptions
from meshgen.stub import DeploymentStub
from meshgen.tasks.declared import Declared
from meshgen.types import DeploymentID


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The class or function to serve: an import path `module:qualname`, or a pickle."""

    path: str | None = None
    pickle: bytes | None = None

    def load(self) -> Callable[..., Any]:
        """Import or unpickle it."""
        if self.path is None:
            assert self.pickle is not None
            found = pickle.loads(self.pickle)
        else:
            module, _, qualname = self.path.partition(":")
            found = importlib.import_module(module)
            for part in qualname.split("."):
                found = getattr(_undecorated(found), part)
        target: Callable[..., Any] = _undecorated(found)
        return target


def _undecorated(found: Any) -> Any:
    return found.func_or_class if isinstance(found, Deployment | Declared) else found


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSpec:
    """All that one service must know."""

    stub: DeploymentStub
    target: Target
    arguments: Arguments
    options: DeploymentOptions
    callees: tuple[DeploymentID, ...] = ()
    # Its typed RPCs, pickled, where its hints can be read by its deployer only: names in the hints
    # of a class that travels by value do not.
    typed: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TypedService:
    """A gRPC service that the gateway serves: its full name, and the method behind each RPC."""

    name: str
    rpcs: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class AppSpec:
    """One application as the rest of the mesh sees it. `route_prefix` None is not on HTTP.

    `edges` has for each deployment the names of those that it may call. `typed` has the deployments
    that outsiders may call over gRPC, and `descriptors` their .proto files: a serialized
    FileDescriptorSet.
    """

    name: str
    ingress: str
    route_prefix: str | None
    stubs: Mapping[str, DeploymentStub]
    edges: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    typed: Mapping[str, TypedService] = field(default_factory=dict)
    descriptors: bytes = field(default=b"", compare=False)

    @property
    def is_reached_from_outside(self) -> bool:
        """Whether the gateway serves any of it."""
        return self.route_prefix is not None or bool(self.typed)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshSpec:
    """The applications of a mesh, by name."""

    apps: Mapping[str, AppSpec] = field(default_factory=dict)

    def find(self, target: DeploymentID) -> DeploymentStub:
        """A deployment's stub.

        Raises:
            NoSuchApplicationError: There is none of that name.
        """
        app = self.apps.get(target.app)
        if app is None or target.name not in app.stubs:
            raise NoSuchApplicationError(
                f"no deployment {target.name!r} in application {target.app!r} runs in this mesh"
            )
        return app.stubs[target.name]

    def ingress_of(self, app: str) -> DeploymentStub:
        """The stub of an application's ingress.

        Raises:
            NoSuchApplicationError: There is no application of that name.
        """
        if app not in self.apps:
            raise NoSuchApplicationError(f"no application {app!r} runs in this mesh")
        return self.apps[app].stubs[self.apps[app].ingress]


def app_spec(graph: Graph, route_prefix: str | None) -> AppSpec:
    """A graph as the rest of the mesh sees it."""
    return AppSpec(
        name=graph.app,
        ingress=graph.ingress.stub.id.name,
        route_prefix=route_prefix,
        stubs={node.stub.id.name: node.stub for node in graph.nodes},
        edges={node.stub.id.name: _callees(graph, node) for node in graph.nodes},
    )


def _callees(graph: Graph, node: Node) -> tuple[str, ...]:
    names = {other.stub.id.name for other in graph.nodes}
    declared = names if "*" in node.declared else names & {*node.declared}
    return tuple(sorted(declared | {callee.name for callee in node.callees}))


def service_specs(graph: Graph) -> list[ServiceSpec]:
    """What each service of a graph is told, callees first.

    Raises:
        BuildError: Classes or arguments cannot be pickled; lists every one.
    """
    specs, problems = [], []
    for node in graph.nodes:
        try:
            specs.append(_service_spec(graph, node))
        except SerializationError as exc:
            problems.append(f"{node.stub.id.name}: {exc}")
    if problems:
        raise BuildError(problems)
    return specs


def _service_spec(graph: Graph, node: Node) -> ServiceSpec:
    application = node.application
    return ServiceSpec(
        stub=node.stub,
        target=find_target(application.deployment.func_or_class),
        arguments=pack(application.args, application.kwargs, graph.name_of),
        options=application.deployment.deployment_options,
        callees=node.callees,
    )


def find_target(target: Callable[..., Any]) -> Target:
    """By import path where that leads back to the same object, else by value.

    Raises:
        SerializationError: It can be neither imported nor pickled.
    """
    module, qualname = target.__module__, target.__qualname__
    if module != "__main__" and "<locals>" not in qualname and module in sys.modules:
        path = Target(path=f"{module}:{qualname}")
        try:
            if path.load() is target:
                return path
        except AttributeError:
            pass  # not reachable under its own name: by value, then
    try:
        return Target(pickle=cloudpickle.dumps(target, protocol=5))
    except Exception as exc:
        raise SerializationError(f"{qualname} of {module} cannot be pickled: {exc}") from exc
