"""The gRPC contract of a mesh: a .proto for each deployment, with numbers that builds keep."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from meshgen.build.descriptors import compile_descriptors
from meshgen.build.notes import NOTE
from meshgen.build.output import Content
from meshgen.build.resources import resource
from meshgen.errors import BreakingChangeError, BuildError
from meshgen.graph import Graph
from meshgen.typed.breaking import breaking_changes
from meshgen.typed.deployment import TypedDeployment
from meshgen.typed.layout import make_layout
from meshgen.typed.lockfile import lock_text
from meshgen.typed.numbers import Lock, next_lock
from meshgen.typed.prototext import proto_text
from meshgen.typed.published import exposed_names, read_typed
from meshgen.typed.schema import Schema
from meshgen.typed.shapes import Interface
from meshgen.types import DeploymentID

# Where a built application is on HTTP.
ROUTE = "/"
_COMMON = ("meshgen/v1/mesh.proto", "meshgen/types/v1/tensor.proto")


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """What clients of a mesh rely on."""

    # Of the application by name, callees first; `exposed` are those that outsiders may call.
    deployments: Mapping[str, TypedDeployment]
    exposed: Mapping[str, TypedDeployment]
    # Those of services that belong to the mesh itself: generic RPCs only.
    helpers: tuple[Schema, ...]
    lock: Lock
    # What clients of the build before this one lose, a sentence each.
    breaking: tuple[str, ...]

    @property
    def problems(self) -> list[str]:
        """Which methods have no typed RPC, and why: a sentence for each reason."""
        return [problem for each in self.deployments.values() for problem in each.problems]

    @property
    def untyped(self) -> int:
        """How many methods have no typed RPC."""
        return len({problem.partition(" has no typed RPC")[0] for problem in self.problems})

    @property
    def rpcs(self) -> int:
        """How many typed RPCs there are."""
        schemas = [each.schema for each in self.deployments.values()]
        return sum(bool(rpc.method) for schema in schemas for rpc in schema.rpcs)

    def lock_file(self) -> bytes:
        """`meshgen.lock.json`."""
        return lock_text(self.lock).encode()

    def proto_files(self) -> dict[str, Content]:
        """Every .proto by its path below `protos/`, and what protoc makes of all."""
        schemas = [*self.helpers, *(each.schema for each in self.deployments.values())]
        protos = {schema.path: proto_text(schema, NOTE).encode() for schema in schemas}
        protos |= {name: (resource("protos") / name).read_bytes() for name in _COMMON}
        return {**protos, "descriptors.binpb": compile_descriptors(protos)}


def make_contract(graph: Graph, old: Lock, companions: Sequence[Graph] = ()) -> Contract:
    """Read the hints of an application's deployments; `old` is the lock of the build before.

    Raises:
        OptionError: A message ran out of numbers.
        BuildError: Outsiders could call nothing of a deployment that is exposed.
    """
    typed = read_typed(graph, [node.stub.id.name for node in graph.nodes], old)
    _check_exposed(graph, typed)
    parts: dict[str, Any] = {made.schema.package: made.lock for made in typed.values()}
    return Contract(
        deployments=typed,
        exposed={name: typed[name] for name in exposed_names(graph, route_prefix=ROUTE)},
        helpers=tuple(_generic(node.stub.id) for each in companions for node in each.nodes),
        lock=next_lock(old, parts),
        breaking=tuple(breaking_changes(old, parts)),
    )


def _check_exposed(graph: Graph, typed: Mapping[str, TypedDeployment]) -> None:
    problems: list[str] = []
    for name in exposed_names(graph, route_prefix=None):
        if not any(rpc.method for rpc in typed[name].schema.rpcs):
            problems.append(
                f"{name}: it is exposed, but outsiders could call none of its methods; give one "
                "hints that make it a typed RPC, or leave out expose=True"
            )
            problems += typed[name].problems
    if problems:
        raise BuildError(problems)


def check_breaking(changes: Iterable[str]) -> None:
    """Refuse changes that break clients.

    Raises:
        BreakingChangeError: There are some; lists every one.
    """
    found = list(changes)
    if found:
        raise BreakingChangeError(found)


def _generic(deployment: DeploymentID) -> Schema:
    return make_layout(Interface(methods=(), records={}, problems=()), deployment).schema()
