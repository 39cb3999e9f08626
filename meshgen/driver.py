"""The mesh that a program runs from its own process: a loop thread, a local mesh and a caller."""

from __future__ import annotations

import atexit
from concurrent.futures import CancelledError
from typing import TypeVar

from meshgen.deploy.console import print_line
from meshgen.deploy.edgefiles import check_edge
from meshgen.deploy.local import LocalMesh
from meshgen.errors import NotServingError
from meshgen.graph import Graph
from meshgen.loopthread import LoopThread
from meshgen.runtime.caller import MeshCaller
from meshgen.runtime.meshfile import MeshFile
from meshgen.runtime.network import GrpcNetwork
from meshgen.serve.config import NO_GRPC, OPEN, EdgeOptions, GRPCOptions, HTTPOptions
from meshgen.serve.context import process
from meshgen.serve.handle import DeploymentHandle
from meshgen.serve.schema import ServeStatus
from meshgen.tasks.service import uses_tasks

T = TypeVar("T")


class Driver:
    """Owns the thread, the processes and the calls of `serve.run`. Its methods block."""

    def __init__(
        self, http: HTTPOptions, grpc: GRPCOptions = NO_GRPC, edge: EdgeOptions = OPEN
    ) -> None:
        check_edge(edge)
        self._thread = LoopThread("meshgen")
        self._mesh = self._thread.run(self._open_mesh(http, grpc, edge))
        self.caller = self._thread.run(self._open_caller())
        process.caller = self.caller
        atexit.register(self.shutdown)

    async def _open_mesh(
        self, http: HTTPOptions, grpc: GRPCOptions, edge: EdgeOptions
    ) -> LocalMesh:
        return LocalMesh(http, print_line, grpc, edge)

    async def _open_caller(self) -> MeshCaller:
        folder = self._mesh.folder
        return MeshCaller(MeshFile(folder.mesh_file), GrpcNetwork(template=folder.resolver))

    def deploy(self, graph: Graph, route_prefix: str | None) -> DeploymentHandle:
        """Start or replace an application and return its ingress's handle."""
        if uses_tasks(graph):
            self.start_tasks()
        try:
            self._thread.run(self._mesh.deploy(graph, route_prefix))
        except CancelledError as exc:  # by another thread
            raise NotServingError(
                f"application {graph.app!r} was stopped before it ran, or the mesh was"
            ) from exc
        return DeploymentHandle(graph.ingress.stub, caller=self.caller)

    def start_tasks(self) -> None:
        """Add the task service, unless it is there."""
        self._thread.run(self._mesh.start_tasks())

    def delete(self, name: str) -> None:
        """Stop an application."""
        self._thread.run(self._mesh.delete(name))

    def status(self) -> ServeStatus:
        """How everything is."""
        return self._thread.run(self._status())

    async def _status(self) -> ServeStatus:
        return self._mesh.status()

    def shutdown(self, *, at_once: bool = False) -> None:
        """Stop everything. Calls that are under way end with an error."""
        atexit.unregister(self.shutdown)
        if process.caller is self.caller:
            process.caller = None
        try:
            self._thread.run(self._mesh.close(at_once=at_once))
        except KeyboardInterrupt:  # enough of waiting
            self._thread.run(self._mesh.close(at_once=True))
        self._thread.run(self.caller.__aexit__())
        self._thread.stop()
