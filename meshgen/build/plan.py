"""Every decision about a built mesh, as plain values; the templates only spell them out."""

from __future__ import annotations

import math
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from meshgen.build.certs import Owner
from meshgen.build.problems import find_problems, working_dir_in
from meshgen.build.requirements import UserRequirements, image_requirements, without
from meshgen.build.variables import Variable, common_variables
from meshgen.edges import GATEWAY, Identity
from meshgen.errors import BuildError
from meshgen.graph import Graph, Node
from meshgen.naming import MessageName, ProtoName, ServiceName, VariableName
from meshgen.serve.options import DeploymentOptions

APP_FOLDER = "/mesh/app"
# Beyond the time a replica may take to drain: to close its links and leave.
_STOP_MARGIN_S = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What an image has installed; services that need the same share one image."""

    name: str
    repository: str
    python: str
    requirements: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicePlan:
    """One deployment as a service."""

    name: str
    deployment: str
    proto: ProtoPlan
    environment: Environment
    # One service of each environment builds its image; the others use it.
    builds: bool
    replicas: Variable
    cpus: Variable | None
    memory: Variable | None
    gpus: int
    stop_grace_s: int
    working_dir: str
    env_vars: Mapping[str, str]
    depends_on: tuple[str, ...]

    @property
    def variables(self) -> Iterator[Variable]:
        """Those of this service."""
        yield from (found for found in (self.replicas, self.cpus, self.memory) if found is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtoPlan:
    """The generated .proto of one deployment."""

    path: str
    package: str
    service: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayPlan:
    """The HTTP gateway: it runs in the ingress's environment, whose values it must understand."""

    environment: Environment
    ingress: str
    stop_grace_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One application as a mesh, callees before callers."""

    app: str
    project: str
    services: tuple[ServicePlan, ...]
    environments: tuple[Environment, ...]
    gateway: GatewayPlan
    owner: Owner
    # Whether the processes answer imports of `ray` with meshgen.
    ray_compat: bool

    @property
    def identities(self) -> list[Identity]:
        """Who gets a certificate."""
        names = [*(service.name for service in self.services), GATEWAY]
        return [Identity(project=self.project, name=name) for name in names]

    @property
    def gpu_services(self) -> list[ServicePlan]:
        """The services that reserve GPUs."""
        return [service for service in self.services if service.gpus]

    @property
    def variables(self) -> list[Variable]:
        """Everything that `.env` can set."""
        return [
            *common_variables(self.owner, self.environments[0].python),
            *(variable for service in self.services for variable in service.variables),
        ]

    def variable(self, name: str) -> Variable:
        """One of `variables` by name."""
        return next(variable for variable in self.variables if variable.name == name)


def make_plan(  # noqa: PLR0913 - one for each thing that a plan follows from
    graph: Graph,
    *,
    source_root: Path,
    sources: Mapping[str, Path],
    user: UserRequirements,
    owner: Owner,
    ray_compat: bool = False,
    companions: Sequence[Graph] = (),
) -> Plan:
    """Decide everything about the mesh of a graph whose code is `sources`, by path below the root.

    Services of `companions` are in it too, for all others to call.

    Raises:
        BuildError: The graph cannot be built; lists every reason.
    """
    problems = [*user.problems, *find_problems(graph, source_root, sources)]
    if problems:
        raise BuildError(problems)
    project = ServiceName(graph.app)
    # Where meshgen stands in Ray's place, no image needs a Ray.
    unwanted = frozenset({"ray"} if ray_compat else ())
    helpers = [node for companion in companions for node in companion.nodes]
    chosen = _environments(project, [*helpers, *graph.nodes], user.lines, unwanted)
    common = tuple(node.stub.service for node in helpers)
    services = tuple(
        _service(each, node, chosen, source_root, _Around(project, common * (each is graph)))
        for each in (*companions, graph)
        for node in each.nodes
    )
    return Plan(
        app=graph.app,
        project=project,
        services=services,
        environments=tuple(dict.fromkeys(chosen.values())),
        gateway=GatewayPlan(
            environment=services[-1].environment,
            ingress=services[-1].name,
            stop_grace_s=services[-1].stop_grace_s,
        ),
        owner=owner,
        ray_compat=ray_compat,
    )


def _environments(
    project: str, nodes: Sequence[Node], user: Sequence[str], unwanted: frozenset[str]
) -> dict[str, Environment]:
    """The environment of each service by its name; services that need the same share one."""
    python = ".".join(platform.python_version_tuple()[:2])
    made: dict[frozenset[str], Environment] = {}
    chosen = {}
    for node in nodes:
        pip = without(unwanted, _options(node).actor.pip)
        requirements = image_requirements(without(unwanted, user), pip)
        if frozenset(requirements) not in made:
            name = f"env-{node.stub.service}" if pip else "base"
            made[frozenset(requirements)] = Environment(
                name=name,
                repository=f"{project}-{name}",
                python=python,
                requirements=requirements,
            )
        chosen[node.stub.service] = made[frozenset(requirements)]
    return chosen


@dataclass(frozen=True, slots=True)
class _Around:
    """What one service has around it: the whole mesh's name, and services that all may call."""

    project: str
    helpers: tuple[str, ...]


def _service(
    graph: Graph,
    node: Node,
    chosen: Mapping[str, Environment],
    source_root: Path,
    around: _Around,
) -> ServicePlan:
    options, name = _options(node), node.stub.service
    environment = chosen[name]
    subfolder = working_dir_in(source_root, options.actor.working_dir)
    callees = {other.stub.id: other.stub.service for other in graph.nodes}
    return ServicePlan(
        name=name,
        deployment=node.stub.id.name,
        proto=_proto(graph.app, node.stub.id.name),
        environment=environment,
        builds=next(key for key, value in chosen.items() if value is environment) == name,
        replicas=_variable(node, "REPLICAS", str(options.num_replicas), "how many replicas run"),
        cpus=_cpus(node),
        memory=_memory(node),
        gpus=math.ceil(options.actor.num_gpus),
        stop_grace_s=_stop_grace(options),
        working_dir="/".join([APP_FOLDER, *(subfolder or ())]),
        env_vars=options.actor.env_vars,
        depends_on=tuple(sorted((*around.helpers, *(callees[callee] for callee in node.callees)))),
    )


def _options(node: Node) -> DeploymentOptions:
    return node.application.deployment.deployment_options


def _cpus(node: Node) -> Variable | None:
    cpus = _options(node).actor.num_cpus
    return _variable(node, "CPUS", f"{cpus:g}", "CPUs that one replica may use") if cpus else None


def _memory(node: Node) -> Variable | None:
    memory = _options(node).actor.memory
    if memory is None:
        return None
    return _variable(node, "MEMORY", f"{math.ceil(memory)}b", "memory that one replica may use")


def _variable(node: Node, suffix: str, default: str, meaning: str) -> Variable:
    name = f"{VariableName(node.stub.service)}_{suffix}"
    return Variable(name=name, default=default, meaning=f"{node.stub.id.name}: {meaning}")


def _stop_grace(options: DeploymentOptions) -> int:
    draining = options.graceful_shutdown_timeout_s + options.graceful_shutdown_wait_loop_s
    return math.ceil(draining) + _STOP_MARGIN_S


def _proto(app: str, deployment: str) -> ProtoPlan:
    app_part, part = ProtoName(app), ProtoName(deployment)
    return ProtoPlan(
        path=f"{app_part}/{part}/v1/{part}.proto",
        package=f"{app_part}.{part}.v1",
        service=f"{MessageName(deployment)}Service",
    )
