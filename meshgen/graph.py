"""From a bound application to a graph of named services."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from meshgen.arguments import find_applications, misfit
from meshgen.errors import BuildError, OptionError, OptionTypeError
from meshgen.naming import ProtoName, ServiceName, problem_with
from meshgen.serve.deployment import Application
from meshgen.stub import DeploymentStub, method_stubs
from meshgen.tasks.home import APP
from meshgen.types import DeploymentID

logger = logging.getLogger("meshgen")


@dataclass(frozen=True, kw_only=True, eq=False)
class Node:
    """One deployment of the graph, and the ones its constructor gets handles of."""

    application: Application
    stub: DeploymentStub
    callees: tuple[DeploymentID, ...] = ()

    @property
    def declared(self) -> tuple[str, ...]:
        """The names of those it calls by other handles, as it says; "*" is all."""
        return self.application.deployment.deployment_options.may_call


@dataclass(frozen=True, kw_only=True)
class Graph:
    """The services of one application, callees before callers; the last one is the ingress."""

    app: str
    nodes: tuple[Node, ...]

    @property
    def ingress(self) -> Node:
        """The deployment that outside requests reach."""
        return self.nodes[-1]

    def name_of(self, application: Application) -> str:
        """The deployment name that an application of this graph got."""
        return next(n.stub.id.name for n in self.nodes if n.application is application)

    def edges(self) -> Iterator[tuple[DeploymentID, DeploymentID]]:
        """Caller and callee of every handle given to a constructor."""
        for node in self.nodes:
            for callee in node.callees:
                yield node.stub.id, callee


def build_graph(root: Application, *, app: str = "default") -> Graph:
    """Walk a bound application.

    Raises:
        OptionTypeError: `root` is no application.
        OptionError: The application's name cannot be used.
        BuildError: Deployments cannot become services; lists every reason.
    """
    if not isinstance(root, Application):
        raise OptionTypeError(
            f"expected an Application, as Deployment.bind() returns it, but got {root!r}"
        )
    if not isinstance(app, str) or not re.fullmatch(r"[A-Za-z0-9][\w.-]*", app, re.ASCII):
        raise OptionError(
            "an application's name must be letters, digits, '-', '_' and '.', and begin with a "
            f"letter or digit; got {app!r}"
        )
    if app == APP:
        raise OptionError(
            f"an application cannot be called {app!r}: the mesh's own services belong to that one"
        )
    walk = _Walk(app=app)
    walk.visit(root)
    problems = [
        *walk.problems,
        *_name_problems(walk.nodes),
        *_config_problems(walk.nodes),
        *_edge_problems(walk.nodes),
        *_argument_problems(walk.nodes),
    ]
    if problems:
        raise BuildError(problems)
    return Graph(app=app, nodes=tuple(walk.nodes))


@dataclass
class _Walk:
    """Depth first: a node is named when first met, and emitted after what it calls."""

    app: str
    stubs: dict[int, DeploymentStub] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def visit(self, application: Application) -> DeploymentStub:
        if id(application) in self.stubs:
            return self.stubs[id(application)]
        stub = self._name(application)
        self.stubs[id(application)] = stub
        children, errors = find_applications(application.args, application.kwargs)
        self.problems += [f"{stub.id.name}: {error}" for error in errors]
        callees = tuple(self.visit(child).id for child in children)
        self.nodes.append(Node(application=application, stub=stub, callees=callees))
        return stub

    def _name(self, application: Application) -> DeploymentStub:
        wanted = application.deployment.name
        taken = {stub.id.name for stub in self.stubs.values()}
        name, count = wanted, 0
        while name in taken:
            count += 1
            name = f"{wanted}_{count}"
        if count:
            logger.warning("deployment %s is bound more than once; this one is %s", wanted, name)
        target = application.deployment.func_or_class
        return DeploymentStub(
            id=DeploymentID(self.app, name),
            service=ServiceName(name),
            methods=method_stubs(target),
            max_queued_requests=application.deployment.max_queued_requests,
            is_function=not isinstance(target, type),
            open_ended=isinstance(target, type) and hasattr(target, "__getattr__"),
        )


def _name_problems(nodes: list[Node]) -> list[str]:
    """Names that cannot be a service's, and names that become the same one."""
    problems = []
    first: dict[str, str] = {}
    for node in nodes:
        name, service = node.stub.id.name, node.stub.service
        problem = problem_with(name)
        if problem is not None:
            problems.append(f"{name}: this name {problem}")
            continue
        # `import` and `ImportService` are two services, and one package.
        for kind, derived in (("service", service), ("package", ProtoName(name))):
            if derived in first:
                problems.append(
                    f"{name}: this name becomes the {kind} {derived!r}, as {first[derived]} does; "
                    "give one of them another with .options(name=...)"
                )
                break
        first |= {service: name, ProtoName(name): name}
    return problems


def _edge_problems(nodes: list[Node]) -> list[str]:
    """Edges that lead nowhere."""
    names = {node.stub.id.name for node in nodes}
    return [
        f"{node.stub.id.name}: may_call names {missing!r}, but there is no such deployment; "
        f"there are {', '.join(sorted(names))}"
        for node in nodes
        for missing in sorted({*node.declared} - names - {"*"})
    ]


def _argument_problems(nodes: list[Node]) -> list[str]:
    """Arguments that no constructor would take."""
    problems = []
    for node in nodes:
        app = node.application
        why = misfit(app.deployment.func_or_class, app.args, app.kwargs)
        if why is not None:
            problems.append(
                f"{node.stub.id.name}: it cannot be constructed with what .bind() was given: "
                f"{why}; correct that call"
            )
    return problems


def _config_problems(nodes: list[Node]) -> list[str]:
    """Configurations that nobody would take."""
    return [
        f"{node.stub.id.name}: it has a user_config, but its class has no reconfigure(user_config)"
        for node in nodes
        if node.application.deployment.user_config is not None
        and not hasattr(node.application.deployment.func_or_class, "reconfigure")
    ]
