"""What outsiders may call: the typed services of a graph's ingress and of what it exposes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import cloudpickle
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from meshgen.graph import Graph
from meshgen.spec import AppSpec, ServiceSpec, TypedService
from meshgen.typed.deployment import TypedDeployment, typed_deployment
from meshgen.typed.descriptors import file_descriptor
from meshgen.typed.numbers import Lock


def exposed_names(graph: Graph, route_prefix: str | None) -> list[str]:
    """The deployments that are served outside: the ingress, if the application has a route, and
    those that say `expose=True`."""
    return [
        node.stub.id.name
        for node in graph.nodes
        if node.application.deployment.deployment_options.expose
        or (node is graph.ingress and route_prefix is not None)
    ]


def read_typed(
    graph: Graph, names: Iterable[str], lock: Lock | None = None
) -> dict[str, TypedDeployment]:
    """The typed RPCs of these deployments, by name.

    Raises:
        OptionError: A message ran out of numbers.
    """
    wanted = set(names)
    return {
        node.stub.id.name: typed_deployment(
            node.application.deployment.func_or_class, node.stub.id, lock
        )
        for node in graph.nodes
        if node.stub.id.name in wanted
    }


def published(app: AppSpec, exposed: Mapping[str, TypedDeployment]) -> AppSpec:
    """The application with these deployments served outside; those without a typed RPC are not."""
    services = {name: service for name, made in exposed.items() if (service := _service(made)).rpcs}
    files = FileDescriptorSet(
        file=[file_descriptor(exposed[name].schema.typed_only()) for name in sorted(services)]
    )
    return replace(app, typed=services, descriptors=files.SerializeToString(deterministic=True))


def _service(made: TypedDeployment) -> TypedService:
    rpcs = {rpc.name: rpc.method for rpc in made.schema.rpcs if rpc.method}
    return TypedService(name=made.schema.full_service, rpcs=rpcs)


def with_hints(
    services: Sequence[ServiceSpec], typed: Mapping[str, TypedDeployment]
) -> list[ServiceSpec]:
    """The services, those that travel by value with what their hints say."""
    return [
        replace(spec, typed=cloudpickle.dumps(typed[spec.stub.id.name]))
        if spec.target.pickle is not None and spec.stub.id.name in typed
        else spec
        for spec in services
    ]
