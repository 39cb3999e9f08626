"""Which RPCs the gateway serves, and whose they are: as the mesh is now."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from meshgen.serve.handle import HandleOptions
from meshgen.spec import AppSpec, MeshSpec
from meshgen.stub import DeploymentStub
from meshgen.types import CallPolicy


@dataclass(frozen=True, kw_only=True)
class ExposedRpc:
    """A typed RPC and the method that answers it."""

    service: str
    rpc: str
    app: AppSpec
    stub: DeploymentStub
    method: str

    @property
    def path(self) -> str:
        """As gRPC has it."""
        return f"/{self.service}/{self.rpc}"

    @property
    def streams(self) -> bool:
        """Whether it answers with a stream."""
        return self.stub.method(self.method).streams

    @property
    def http_path(self) -> str | None:
        """Where HTTP has it: below the route of its application, if that has one."""
        if self.app.route_prefix is None:
            return None
        return f"{self.app.route_prefix.rstrip('/')}/{self.stub.id.name}/{self.method}"

    @cached_property
    def policy(self) -> CallPolicy | None:
        """What may be done for its calls."""
        return HandleOptions().policy(self.stub.method(self.method))


@dataclass(frozen=True, kw_only=True)
class EdgeTable:
    """The exposed RPCs of one state of the mesh."""

    mesh: MeshSpec
    by_path: Mapping[str, ExposedRpc]
    by_http_path: Mapping[str, ExposedRpc]

    @cached_property
    def services(self) -> list[str]:
        """The full names of the services, in order."""
        return sorted({rpc.service for rpc in self.by_path.values()})


def edge_table(mesh: MeshSpec) -> EdgeTable:
    """The table of a mesh."""
    rpcs = list(_rpcs(mesh))
    return EdgeTable(
        mesh=mesh,
        by_path={rpc.path: rpc for rpc in rpcs},
        by_http_path={path: rpc for rpc in rpcs if (path := rpc.http_path) is not None},
    )


def _rpcs(mesh: MeshSpec) -> Iterator[ExposedRpc]:
    for app in mesh.apps.values():
        for name, service in app.typed.items():
            for rpc, method in service.rpcs.items():
                stub = app.stubs[name]
                yield ExposedRpc(service=service.name, rpc=rpc, app=app, stub=stub, method=method)


class CurrentTable:
    """The table of the mesh as it is by then; made anew when that has changed."""

    def __init__(self, mesh: Callable[[], MeshSpec]) -> None:
        self._mesh = mesh
        self._table = edge_table(MeshSpec())

    def __call__(self) -> EdgeTable:
        """The table now.

        Raises:
            NotServingError: The mesh was shut down.
        """
        mesh = self._mesh()
        if self._table.mesh is not mesh:
            self._table = edge_table(mesh)
        return self._table
